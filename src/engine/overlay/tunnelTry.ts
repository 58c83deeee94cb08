/*
 * Which of the endpoints of a peer works, found out by trying: one step for each look at the device. Pure.
 * An endpoint is tried with a peer made anew, since WireGuard sends one first message in five seconds to the same peer; a
 * peer with a session is never touched.
 */
import type { WireguardPeerState } from '../../codec/wireguard/device.ts';
import type { Reach } from './tunnelReach.ts';

/** WireGuard's REJECT_AFTER_TIME: no key is used longer. */
export const sessionMs = 180_000;
/** What keeps the mapping of a NAT open: most hold one for 30 s (RFC 4787 section 4.3 asks for 120). */
export const keepaliveSeconds = 25;
/** The same between two that have a relay to fall back on, which is to be noticed soon. */
export const meetingSeconds = 10;
/** Of one whose keepalives should come each so often: three are missing. */
const silenceMs = (seconds: number): number => 3 * seconds * 1000 + 5000;
/** For an answer from an endpoint; longer once all were tried in vain twice. */
const stepMs = 3000;
const longStepMs = 15_000;
/** Between two that are to meet, the second waits: the first one's message has opened its NAT by then. */
const secondMs = 1000;
/** They try together, so by the clock of the day, and rest for the remainder. */
const roundMs = 18_000;
const everyMs = 120_000;
/** That what was sent is answered, where this node may begin; WireGuard itself tries again after five. */
const answerMs = 15_000;
/**
 * For a sign of whom is sent to all the while: who receives and has nothing to say sends a keepalive after 10 s (WireGuard's
 * KEEPALIVE_TIMEOUT), so that three are missing.
 */
const unansweredMs = 30_000;

export interface Try {
  /** As text; undefined: whatever the device has. */
  readonly endpoint: string | undefined;
  /** The peer is made anew with each. */
  readonly serial: number;
  /** 0: none. */
  readonly keepaliveSeconds: number;
  /** There is a session, and nothing that should come is missing. */
  readonly isLive: boolean;
  /** An endpoint is being tried: to be looked at soon. */
  readonly isTrying: boolean;
  /** Since when it should work and does not. */
  readonly failingSinceMs: number | undefined;
  readonly memory: Memory;
}

interface Memory {
  readonly endpoints: string;
  readonly received: Count;
  readonly sent: Count;
  /** Since when something is sent and nothing received; undefined: it is answered, or nothing is sent. */
  readonly unansweredAtMs: number | undefined;
  readonly step: { readonly index: number; readonly sinceMs: number } | undefined;
  readonly roundSinceMs: number;
}

interface Count {
  readonly bytes: number;
  /** When it grew last. */
  readonly atMs: number;
}

export interface Look {
  readonly reach: Reach;
  /** Packets of a network are sent to it, or it has to be heard from for another reason. */
  readonly isNeeded: boolean;
  /** This node is behind NAT, so that the other reaches it only while it keeps the way open. */
  readonly isBehindNat: boolean;
  /** The swarm has lost it. */
  readonly isDown: boolean;
  /** What the device says; undefined where it has no such peer. */
  readonly device: WireguardPeerState | undefined;
  readonly nowMs: number;
}

function grown(before: Count | undefined, bytes: number, nowMs: number): Count {
  if (before === undefined) return { bytes, atMs: Number.NEGATIVE_INFINITY };
  // Less than before: it was made anew.
  const atMs = bytes === before.bytes || bytes === 0 ? Math.min(before.atMs, nowMs) : nowMs;
  return { bytes, atMs };
}

function unansweredSince(before: Try | undefined, { device, nowMs }: Look): number | undefined {
  if (before === undefined || device === undefined) return undefined;
  const { received, sent, unansweredAtMs } = before.memory;
  // Less than before: it was made anew.
  if (device.receivedBytes !== received.bytes || device.sentBytes < sent.bytes) return undefined;
  if (device.sentBytes === sent.bytes || before.failingSinceMs !== undefined) return unansweredAtMs;
  // A keepalive of ours need not be answered: what is sent after a pause counts anew.
  return nowMs - sent.atMs > answerMs ? nowMs : (unansweredAtMs ?? nowMs);
}

/** The next step; `before` undefined at first: a session that the device has is taken as it is. */
export function nextTry(before: Try | undefined, look: Look): Try {
  const { device, nowMs } = look;
  const handshakeMs = device?.lastHandshakeMs;
  const heard = grown(before?.memory.received, device?.receivedBytes ?? 0, nowMs);
  const ageMs = nowMs - (handshakeMs ?? Number.NEGATIVE_INFINITY);
  // A clock that was set back says nothing of how old it is.
  const hasSession = ageMs < sessionMs && ageMs > -answerMs;
  // One that an earlier daemon left has been heard from, for all that is known.
  const heardAtMs = before === undefined && hasSession ? nowMs : (handshakeMs ?? heard.atMs);
  const known: Known = {
    sent: grown(before?.memory.sent, device?.sentBytes ?? 0, nowMs),
    received: { ...heard, atMs: Math.min(nowMs, Math.max(heard.atMs, heardAtMs)) },
    unansweredAtMs: unansweredSince(before, look),
    hasSession,
  };
  return { call, wait, meet }[look.reach.way](before, look, known);
}

interface Known extends Pick<Memory, 'received' | 'sent' | 'unansweredAtMs'> {
  readonly hasSession: boolean;
}

const atRest = { serial: 0, isTrying: false, keepaliveSeconds: 0 } as const;

/** Where it answers it stays, unless it was an address of the other's that it has no more. */
function liveAt(before: Try | undefined, endpoints: readonly string[]): string | undefined {
  const kept = before?.endpoint;
  if (kept === undefined || endpoints.includes(kept)) return kept;
  const wasTold = before?.memory.endpoints.split(' ').includes(kept) === true;
  return wasTold ? (endpoints[0] ?? kept) : kept;
}

/** What was tried stays while it is among those to try. */
function keptOr(before: Try | undefined, endpoints: readonly string[]): string | undefined {
  const kept = before?.endpoint;
  const isSame = before?.memory.endpoints === endpoints.join(' ');
  return kept !== undefined && (isSame || endpoints.includes(kept)) ? kept : endpoints[0];
}

/** The other can be reached: it is called whenever there is something to send, at the next endpoint if it does not answer. */
function call(before: Try | undefined, look: Look, known: Known): Try {
  const { hasSession, sent, received, unansweredAtMs = Number.POSITIVE_INFINITY } = known;
  const { endpoints } = look.reach;
  const { nowMs } = look;
  // It may have lost its end of the session, and has no way to begin another.
  const isMute = look.isBehindNat && look.isNeeded && nowMs - received.atMs >= silenceMs(keepaliveSeconds);
  // Where keepalives come and go by the clock, sending says nothing.
  const isUnanswered = !look.isBehindNat && nowMs - unansweredAtMs >= unansweredMs;
  const isLive = hasSession && !isMute && !isUnanswered;
  const isAsked = nowMs - sent.atMs < answerMs;
  // One that has not answered is asked until it does, so that it is not taken for lost when nobody asks any more.
  const isMissed = look.isNeeded && before?.failingSinceMs !== undefined;
  const isFailing = !isLive && !look.isDown && (isAsked || isMissed);
  const failingSinceMs = isFailing ? (before?.failingSinceMs ?? nowMs) : undefined;
  const isTrying = isFailing && endpoints.length > 1;
  const endpoint = isLive ? liveAt(before, endpoints) : keptOr(before, endpoints);
  const memory = {
    ...{ endpoints: endpoints.join(' '), received, sent, step: undefined },
    unansweredAtMs: known.unansweredAtMs,
    roundSinceMs: failingSinceMs ?? nowMs,
  };
  const now: Try = {
    ...{ ...atRest, endpoint, isLive, isTrying, failingSinceMs, memory, serial: before?.serial ?? 0 },
    keepaliveSeconds: look.isNeeded && (look.isBehindNat || isFailing) ? keepaliveSeconds : 0,
  };
  if (hasSession && isMute)
    return {
      ...{ ...now, endpoint: endpoint ?? endpoints[0], serial: now.serial + 1 },
      memory: { ...memory, received: { bytes: 0, atMs: nowMs }, sent: { bytes: 0, atMs: nowMs } },
    };
  if (!isTrying) return now;
  const index = Math.max(0, endpoints.indexOf(endpoint ?? ''));
  const step = before?.memory.step ?? { index, sinceMs: nowMs };
  const isLong = nowMs - memory.roundSinceMs > 2 * endpoints.length * stepMs;
  if (nowMs - step.sinceMs < (isLong ? longStepMs : stepMs)) return { ...now, memory: { ...memory, step } };
  const next = (index + 1) % endpoints.length;
  return {
    ...{ ...now, endpoint: endpoints[next], serial: now.serial + 1 },
    // What is sent to the one made anew counts from nothing.
    memory: { ...memory, step: { index: next, sinceMs: nowMs }, sent: { bytes: 0, atMs: nowMs } },
  };
}

/** The other begins, and keeps the way open if it needs it; where it was seen is a guess that costs nothing. */
function wait(before: Try | undefined, look: Look, known: Known): Try {
  const { hasSession, sent, received, unansweredAtMs } = known;
  const { nowMs } = look;
  const isHeard = nowMs - received.atMs < silenceMs(keepaliveSeconds);
  const isLive = hasSession && (!look.isNeeded || isHeard);
  const [seen] = look.reach.endpoints;
  const isFailing = !isLive && look.isNeeded && !look.isDown;
  const endpoints = look.reach.endpoints.join(' ');
  const kept = before?.endpoint;
  const isNews = before?.memory.endpoints !== endpoints;
  const best = isNews ? (seen ?? kept) : (kept ?? seen);
  return {
    ...{ ...atRest, isLive, serial: before?.serial ?? 0 },
    endpoint: isLive ? kept : best,
    // By what does not come the other learns that this node has lost the session; no longer than the other keeps it.
    keepaliveSeconds: hasSession && isHeard ? keepaliveSeconds : 0,
    failingSinceMs: isFailing ? (before?.failingSinceMs ?? nowMs) : undefined,
    memory: { endpoints, received, sent, unansweredAtMs, step: undefined, roundSinceMs: nowMs },
  };
}

/** Both begin, for a while and again and again, until there is a session; then both keep it open. */
function meet(before: Try | undefined, look: Look, known: Known): Try {
  const { hasSession, sent, received, unansweredAtMs } = known;
  const { nowMs, isNeeded, reach } = look;
  const { endpoints } = reach;
  const isLive = hasSession && (!isNeeded || nowMs - received.atMs < silenceMs(meetingSeconds));
  const isFailing = !isLive && isNeeded && !look.isDown;
  const failingSinceMs = isFailing ? (before?.failingSinceMs ?? nowMs) : undefined;
  const serial = before?.serial ?? 0;
  const memory: Memory = {
    ...{ endpoints: endpoints.join(' '), received, sent, unansweredAtMs, step: undefined },
    roundSinceMs: before?.memory.roundSinceMs ?? Number.NEGATIVE_INFINITY,
  };
  const resting: Try = { ...atRest, endpoint: before?.endpoint, isLive, serial, failingSinceMs, memory };
  if (isLive) return { ...resting, keepaliveSeconds: isNeeded ? meetingSeconds : 0 };
  if (!isFailing || endpoints.length === 0) return { ...resting, endpoint: undefined };
  const step = before?.memory.step;
  const isOther = before?.memory.endpoints !== memory.endpoints;
  const isNextRound = Math.floor(nowMs / everyMs) !== Math.floor(memory.roundSinceMs / everyMs);
  if (isOther || before.failingSinceMs === undefined || (step === undefined && isNextRound))
    return trying({ ...resting, serial: serial + 1 }, look, { index: 0, sinceMs: nowMs }, nowMs);
  if (step === undefined) return resting;
  if (nowMs - step.sinceMs < stepMs) return trying(resting, look, step, memory.roundSinceMs);
  if (nowMs - memory.roundSinceMs >= roundMs) return { ...resting, endpoint: undefined, serial: serial + 1 };
  const next = { index: (step.index + 1) % endpoints.length, sinceMs: nowMs };
  return trying({ ...resting, serial: serial + 1 }, look, next, memory.roundSinceMs);
}

function trying(
  resting: Try,
  { reach, nowMs }: Look,
  step: { readonly index: number; readonly sinceMs: number },
  roundSinceMs: number,
): Try {
  // A keepalive is what begins a session.
  const isBegun = reach.isFirst || nowMs - step.sinceMs >= secondMs;
  return {
    ...{ ...resting, isTrying: true, endpoint: reach.endpoints[step.index] },
    keepaliveSeconds: isBegun ? meetingSeconds : 0,
    memory: { ...resting.memory, step, roundSinceMs },
  };
}
