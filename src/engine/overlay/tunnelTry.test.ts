/*
 * Steps of a try, with the clock by hand: a row is a look at the device, and what comes of it.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { WireguardPeerState } from '../../codec/wireguard/device.ts';
import { makeKey, publicKeyOf } from '../../codec/wireguard/key.ts';
import type { Reach, Way } from './tunnelReach.ts';
import { type Look, nextTry, type Try } from './tunnelTry.ts';

/** Seconds. What the device says: when the last handshake was, bytes received and sent so far. */
interface Row {
  readonly at: number;
  readonly handshake?: number;
  readonly received?: number;
  readonly sent?: number;
  readonly endpoints?: readonly string[];
  readonly isNeeded?: boolean;
  readonly isDown?: boolean;
  /** `endpoint serial keepalive`, and `live`, `trying`, `failing`. */
  readonly gives: string;
}

const publicKey = publicKeyOf(makeKey());
/** At the beginning of a round by the clock of the day. */
const startMs = 120_000 * 1000;

function stateOf({ handshake, received = 0, sent = 0 }: Row): WireguardPeerState {
  return {
    ...{ publicKey, hasPresharedKey: false, endpoint: undefined, keepaliveSeconds: 0, allowedIps: [] },
    lastHandshakeMs: handshake === undefined ? undefined : startMs + handshake * 1000,
    ...{ receivedBytes: received, sentBytes: sent },
  };
}

function textOf({ endpoint = '-', serial, keepaliveSeconds, isLive, isTrying, failingSinceMs }: Try): string {
  const words = [endpoint, String(serial), String(keepaliveSeconds)];
  if (isLive) words.push('live');
  if (isTrying) words.push('trying');
  if (failingSinceMs !== undefined) words.push('failing');
  return words.join(' ');
}

function check(
  title: string,
  { way, isFirst = true, ...more }: { readonly way: Way } & Partial<Reach & Pick<Look, 'isBehindNat'>>,
  rows: readonly Row[],
): void {
  test(title, () => {
    const { endpoints: usual = [], isBehindNat = false } = more;
    let attempt: Try | undefined;
    for (const row of rows) {
      const { at, endpoints = usual, isNeeded = true, isDown = false, gives } = row;
      attempt = nextTry(attempt, {
        reach: { way, endpoints, isFirst, relay: undefined, kept: [] },
        ...{ isNeeded, isBehindNat, isDown, device: stateOf(row), nowMs: startMs + at * 1000 },
      });
      assert.equal(textOf(attempt), gives, `at ${at} s`);
    }
  });
}

describe('one that can be reached', () => {
  check('is left alone while nothing is sent, and while it answers', { way: 'call', endpoints: ['x', 'y'] }, [
    { at: 0, gives: 'x 0 0' },
    { at: 5, gives: 'x 0 0' },
    { at: 10, sent: 148, gives: 'x 0 25 trying failing' },
    { at: 10.5, sent: 240, received: 92, handshake: 10, gives: 'x 0 0 live' },
    { at: 100, sent: 240, received: 92, handshake: 10, gives: 'x 0 0 live' },
    { at: 300, sent: 240, received: 92, handshake: 10, gives: 'x 0 0' },
  ]);
  check(
    'fails where it gives no sign for half a minute while it is sent to',
    { way: 'call', endpoints: ['x'] },
    [
      { at: 0, sent: 240, received: 92, handshake: 0, gives: '- 0 0 live' },
      { at: 10, sent: 1000, received: 900, handshake: 0, gives: '- 0 0 live' },
      { at: 15, sent: 2000, received: 900, handshake: 0, gives: '- 0 0 live' },
      { at: 30, sent: 3000, received: 900, handshake: 0, gives: '- 0 0 live' },
      { at: 40, sent: 4000, received: 900, handshake: 0, gives: '- 0 0 live' },
      { at: 45, sent: 5000, received: 900, handshake: 0, gives: 'x 0 25 failing' },
      // Only keepalives and handshakes by now.
      { at: 100, sent: 5200, received: 900, handshake: 0, gives: 'x 0 25 failing' },
      { at: 105, sent: 5400, received: 1000, handshake: 0, gives: 'x 0 0 live' },
    ],
  );
  check('may leave what is sent after a pause unanswered for a while', { way: 'call', endpoints: ['x'] }, [
    { at: 0, sent: 240, received: 92, handshake: 0, gives: '- 0 0 live' },
    { at: 10, sent: 272, received: 92, handshake: 0, gives: '- 0 0 live' },
    { at: 35, sent: 272, received: 92, handshake: 0, gives: '- 0 0 live' },
    { at: 40, sent: 1000, received: 92, handshake: 0, gives: '- 0 0 live' },
    { at: 50, sent: 2000, received: 92, handshake: 0, gives: '- 0 0 live' },
    { at: 65, sent: 3000, received: 92, handshake: 0, gives: '- 0 0 live' },
  ]);
  check(
    'has its addresses tried in turn, and keeps the one that answers',
    { way: 'call', endpoints: ['x', 'y'] },
    [
      { at: 0, gives: 'x 0 0' },
      { at: 5, sent: 148, gives: 'x 0 25 trying failing' },
      { at: 7, sent: 148, gives: 'x 0 25 trying failing' },
      { at: 8, sent: 148, gives: 'y 1 25 trying failing' },
      { at: 8.5, sent: 148, received: 92, handshake: 8, gives: 'y 1 0 live' },
      { at: 60, sent: 148, received: 92, handshake: 8, endpoints: ['x', 'y', 'z'], gives: 'y 1 0 live' },
      { at: 61, sent: 148, received: 92, handshake: 8, endpoints: ['w', 'x'], gives: 'w 1 0 live' },
    ],
  );
  check('with one address is never made anew', { way: 'call', endpoints: ['x'] }, [
    { at: 0, gives: 'x 0 0' },
    { at: 5, sent: 148, gives: 'x 0 25 failing' },
    { at: 19, sent: 592, gives: 'x 0 25 failing' },
    { at: 40, sent: 592, gives: 'x 0 25 failing' },
    { at: 41, sent: 592, isNeeded: false, gives: 'x 0 0' },
  ]);
  check(
    'is kept at from behind NAT, but only where it is needed',
    { way: 'call', endpoints: ['x'], isBehindNat: true },
    [
      { at: 0, isNeeded: false, gives: 'x 0 0' },
      { at: 1, gives: 'x 0 25' },
    ],
  );
  check(
    'is asked anew from behind NAT where its keepalives stay out: it may have lost the session',
    { way: 'call', endpoints: ['x'], isBehindNat: true },
    [
      { at: 0, gives: 'x 0 25' },
      { at: 1, handshake: 1, received: 92, sent: 148, gives: 'x 0 25 live' },
      { at: 80, handshake: 1, received: 92, sent: 300, gives: 'x 0 25 live' },
      { at: 82, handshake: 1, received: 92, sent: 300, gives: 'x 1 25 failing' },
      { at: 87, sent: 148, gives: 'x 1 25 failing' },
      { at: 88, handshake: 88, received: 92, sent: 148, gives: 'x 1 25 live' },
    ],
  );
  check(
    'that answers from an address nobody told stays there, whatever is told',
    { way: 'call', endpoints: ['x', 'y'] },
    [
      { at: 0, handshake: -100, received: 5, sent: 5, gives: '- 0 0 live' },
      { at: 5, handshake: -100, received: 5, sent: 5, gives: '- 0 0 live' },
      { at: 6, handshake: -100, received: 5, sent: 5, endpoints: ['w'], gives: '- 0 0 live' },
      { at: 90, handshake: -100, received: 5, sent: 5, endpoints: ['w'], gives: 'w 0 0' },
    ],
  );
  check('is not taken for alive by a clock that was set back', { way: 'call', endpoints: ['x'] }, [
    { at: 0, handshake: 3600, received: 5, sent: 5, gives: 'x 0 0' },
  ]);
});

describe('one behind NAT, from outside', () => {
  check('is waited for; where it was seen is a guess', { way: 'wait', endpoints: ['m'] }, [
    { at: 0, endpoints: [], gives: '- 0 0 failing' },
    { at: 1, gives: 'm 0 0 failing' },
    // That it gets keepalives is how it knows of this end's session.
    { at: 2, handshake: 2, received: 148, gives: 'm 0 25 live' },
    // It keeps the way open: three keepalives are missing.
    { at: 60, handshake: 2, received: 148, gives: 'm 0 25 live' },
    { at: 90, handshake: 2, received: 148, gives: 'm 0 0 failing' },
    { at: 95, handshake: 2, received: 180, gives: 'm 0 25 live' },
  ]);
  check('is not missed where nothing is shared with it', { way: 'wait' }, [
    { at: 0, isNeeded: false, gives: '- 0 0' },
    { at: 1, isNeeded: false, handshake: 1, received: 148, gives: '- 0 25 live' },
    { at: 90, isNeeded: false, handshake: 1, received: 148, gives: '- 0 0 live' },
  ]);
});

describe('both behind NAT', () => {
  check(
    'the first begins at once, again and again, then rests until the next round',
    { way: 'meet', endpoints: ['m'] },
    [
      { at: 0, gives: 'm 1 10 trying failing' },
      { at: 2, gives: 'm 1 10 trying failing' },
      { at: 3, gives: 'm 2 10 trying failing' },
      { at: 17, gives: 'm 3 10 trying failing' },
      { at: 20, gives: '- 4 0 failing' },
      { at: 119, gives: '- 4 0 failing' },
      { at: 121, gives: 'm 5 10 trying failing' },
      { at: 122, handshake: 122, received: 92, gives: 'm 5 10 live' },
      { at: 155, handshake: 122, received: 92, gives: 'm 5 10 live' },
      // Keepalives stay out: by the relay, and again at once.
      { at: 160, handshake: 122, received: 92, gives: 'm 6 10 trying failing' },
    ],
  );
  check('the second lets the first open its NAT', { way: 'meet', endpoints: ['m'], isFirst: false }, [
    { at: 0, gives: 'm 1 0 trying failing' },
    { at: 1, gives: 'm 1 10 trying failing' },
  ]);
  check('a place that is news is tried at once', { way: 'meet' }, [
    { at: 0, gives: '- 0 0 failing' },
    { at: 50, endpoints: ['m'], gives: 'm 1 10 trying failing' },
    { at: 53, endpoints: ['m', 'n'], gives: 'm 2 10 trying failing' },
    { at: 56, endpoints: ['m', 'n'], gives: 'n 3 10 trying failing' },
  ]);
  check(
    'nothing is tried where nothing is shared, or with one that is down',
    { way: 'meet', endpoints: ['m'] },
    [
      { at: 0, isNeeded: false, gives: '- 0 0' },
      { at: 1, isDown: true, gives: '- 0 0' },
      { at: 2, gives: 'm 1 10 trying failing' },
    ],
  );
  check('a session of an earlier daemon is taken as it is', { way: 'meet', endpoints: ['m'] }, [
    { at: 0, handshake: -100, received: 5, gives: '- 0 10 live' },
    { at: 25, handshake: -100, received: 37, gives: '- 0 10 live' },
    { at: 50, handshake: 20, received: 200, gives: '- 0 10 live' },
  ]);
});
