/*
 * `swarm unlock` and `swarm unlock-key`.
 */
import { CliError, silentExit } from '../cliError.ts';
import { type Command, noArguments } from '../command.ts';
import { flag } from '../flags.ts';
import type { Io } from '../io.ts';
import { getUnlockKey, printUnlockCommand } from './joinCommandText.ts';
import { getInfo, getSwarm, updateSwarm } from './swarmApi.ts';

const interrupt = '\x03';
/** In raw mode Enter sends a carriage return, and Ctrl-D itself. */
const lineEnds: readonly string[] = ['\r', '\n', '\x04'];

/** A line of stdin; a terminal is asked for it and does not show it. */
async function readSecret(io: Io): Promise<string> {
  if (!io.isInTerminal) return readLine(io);
  io.out('Enter unlock key: ');
  io.stdin.setRawMode(true);
  try {
    return await readLine(io);
  } finally {
    io.stdin.setRawMode(false);
    io.out('\n');
  }
}

async function readLine(io: Io): Promise<string> {
  let text = '';
  for await (const piece of io.stdin) {
    text += String(piece);
    if (text.includes(interrupt)) throw silentExit(130);
    if (lineEnds.some((end) => text.includes(end))) break;
  }
  // In raw mode the terminal leaves deleted characters to us.
  let line = '';
  for (const c of text) {
    if (lineEnds.includes(c)) break;
    line = c === '\x7f' || c === '\b' ? line.slice(0, -1) : line + c;
  }
  return line.trim();
}

export const swarmUnlockCommand: Command = {
  paths: ['swarm unlock'],
  summary: 'Unlock swarm',
  usage: '',
  arity: noArguments,
  flags: [],
  examples: [['With a key from a file', 'swarm unlock < key']],
  run: async ({ client, io }) => {
    const state = (await getInfo(client)).Swarm?.LocalNodeState ?? '';
    if (state === 'inactive') throw new CliError('Error: This node is not part of a swarm');
    if (state !== 'locked') throw new CliError('Error: swarm is not locked');
    await client.text('POST', '/swarm/unlock', { json: { UnlockKey: await readSecret(io) } });
  },
};

export const swarmUnlockKeyCommand: Command = {
  paths: ['swarm unlock-key'],
  summary: 'Manage the unlock key',
  usage: '[OPTIONS]',
  arity: noArguments,
  flags: [flag('-q, --quiet', 'bool', 'Only display token'), flag('--rotate', 'bool', 'Rotate unlock key')],
  examples: [['To keep it where the swarm is not', 'swarm unlock-key -q']],
  run: async ({ flags, client, io }) => {
    const isQuiet = flags.bool('quiet');
    if (flags.bool('rotate')) {
      const swarm = await getSwarm(client);
      if (swarm.Spec.EncryptionConfig?.AutoLockManagers !== true)
        throw new CliError('cannot rotate because autolock is not turned on');
      await updateSwarm(client, swarm, swarm.Spec, { unlockKey: true });
      if (!isQuiet) io.out('Successfully rotated manager unlock key.\n\n');
    }
    const key = await getUnlockKey(client);
    if (key === '') throw new CliError('no unlock key is set');
    if (isQuiet) io.out(`${key}\n`);
    else printUnlockCommand(io, key);
  },
};
