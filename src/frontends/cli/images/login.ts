/*
 * `login` and `logout`. The daemon asks the registry; what it took is kept as the docker CLI keeps it.
 */
import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import { text as readText } from 'node:stream/consumers';
import { CliError, silentExit } from '../cliError.ts';
import type { Command } from '../command.ts';
import { flag } from '../flags.ts';
import type { ApiClient } from '../http/apiClient.ts';
import type { Io } from '../io.ts';
import {
  type Credentials,
  eraseCredentials,
  findCredentials,
  hubServer,
  storeCredentials,
} from './credentials.ts';

/** What an argument names: the host of a URL, and Docker Hub by its old index. */
function serverOf(argument: string | undefined): string {
  const host = (argument ?? '').replace(/^https?:\/\//, '').replace(/\/.*$/, '');
  return host === '' || host === 'docker.io' || host === 'index.docker.io' ? hubServer : host;
}

interface Prompt extends Disposable {
  /** What is typed for a secret is not shown. Ends the program with 130 at Ctrl-C, as docker does. */
  ask(question: string, isSecret: boolean): Promise<string>;
}

function openPrompt(io: Io): Prompt {
  let isSecret = false;
  const output = new Writable({
    write: (piece: Buffer, _, done) => {
      if (!isSecret) io.out(piece);
      done();
    },
  });
  const lines = createInterface({ input: io.stdin, output, terminal: true });
  // Typed ahead, or waited for.
  const typed: string[] = [];
  let waiting: PromiseWithResolvers<string> | undefined;
  lines.on('line', (line) => {
    if (waiting === undefined) typed.push(line);
    else waiting.resolve(line);
    waiting = undefined;
  });
  lines.once('SIGINT', () => waiting?.reject(silentExit(130)));
  lines.once('close', () => waiting?.reject(new CliError('EOF')));
  return {
    ask: async (question, hides) => {
      io.out(question);
      isSecret = hides;
      const early = typed.shift();
      const answer = Promise.withResolvers<string>();
      if (early === undefined) waiting = answer;
      else answer.resolve(early);
      const line = await answer.promise;
      if (hides) io.out('\n');
      return line;
    },
    [Symbol.dispose]: () => lines.close(),
  };
}

/** Asks the registry, and keeps what it took. Throws CliError, DaemonError. */
async function tryLogin(io: Io, client: ApiClient, server: string, given: Credentials): Promise<void> {
  const { IdentityToken, Status } = await client.json<{ IdentityToken?: string; Status?: string }>(
    'POST',
    '/auth',
    { json: { ...given, serveraddress: server } },
  );
  const { password: _, ...named } = given;
  const open = storeCredentials(
    io,
    server,
    IdentityToken ? { ...named, identitytoken: IdentityToken } : given,
  );
  if (open !== undefined)
    io.err(
      `\nWARNING! Your credentials are stored unencrypted in '${open}'.\n` +
        'Configure a credential helper to remove this warning. See\n' +
        'https://docs.docker.com/go/credential-store/\n\n',
    );
  io.out(`${Status ?? 'Login Succeeded'}\n`);
}

/** True if what is kept for the server still opens it. */
async function tryKept(io: Io, client: ApiClient, server: string, user: string): Promise<boolean> {
  const kept = findCredentials(io, server);
  const isUsable = kept.identitytoken !== undefined || (kept.username ?? '') !== '';
  if (!isUsable || (user !== '' && user !== kept.username)) return false;
  const shown = kept.username === undefined ? '' : ` [Username: ${kept.username}]`;
  io.err(
    `Authenticating with existing credentials...${shown}\n\n` +
      " Info -> To login with a different account, run 'linkspan logout' followed by 'linkspan login'\n\n\n",
  );
  try {
    await tryLogin(io, client, server, kept);
    return true;
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    io.err(`Login did not succeed, error: ${error.message}\n`);
    return false;
  }
}

export const loginCommand: Command = {
  paths: ['login'],
  summary: 'Authenticate to a registry',
  usage: '[OPTIONS] [SERVER]',
  arity: { type: 'atMost', count: 1 },
  flags: [
    flag('-p, --password', 'string', 'Password or Personal Access Token (PAT)'),
    flag('--password-stdin', 'bool', 'Take the Password or Personal Access Token (PAT) from stdin'),
    flag('-u, --username', 'string', 'Username'),
  ],
  examples: [['For a script', 'login -u ann --password-stdin reg.example:5000 < password']],
  run: async ({ client, flags, args, io }) => {
    const isFromStdin = flags.bool('password-stdin');
    let [username, password] = [flags.text('username'), flags.text('password')];
    if (password !== '' && isFromStdin)
      throw new CliError('conflicting options: cannot specify both --password and --password-stdin');
    if (password !== '') io.err('WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n');
    if (isFromStdin) {
      if (username === '') throw new CliError('the --password-stdin option requires --username to be set');
      password = (await readText(io.stdin)).replace(/\r?\n$/, '');
    }
    const server = serverOf(args[0]);
    if (password === '' && !isFromStdin && (await tryKept(io, client, server, username))) return;
    if ((username === '' || password === '') && !io.isInTerminal)
      throw new CliError('Error: Cannot perform an interactive login from a non TTY device');
    if (username === '' || password === '') {
      using prompt = openPrompt(io);
      if (username === '') username = (await prompt.ask('Username: ', false)).trim();
      if (username === '') throw new CliError('Error: Non-null Username Required');
      if (password === '') password = await prompt.ask('Password: ', true);
      if (password === '') throw new CliError('Error: Password Required');
    }
    await tryLogin(io, client, server, { username, password });
  },
};

export const logoutCommand: Command = {
  paths: ['logout'],
  summary: 'Log out from a registry',
  usage: '[SERVER]',
  arity: { type: 'atMost', count: 1 },
  flags: [],
  examples: [['From one', 'logout reg.example:5000']],
  run: ({ args, io }) => {
    const server = serverOf(args[0]);
    io.out(`Removing login credentials for ${server}\n`);
    eraseCredentials(io, server);
    return Promise.resolve();
  },
};
