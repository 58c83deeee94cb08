/*
 * Credentials of registries, in the file that the docker CLI keeps them in (config.json of DOCKER_CONFIG or ~/.docker),
 * or with the helper programs that the file names (`credsStore`, `credHelpers`; protocol: docker-credential-helpers).
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, realpathSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { CliError } from '../cliError.ts';
import { configPath, readConfigFile } from '../configFile.ts';
import type { Io } from '../io.ts';
import { parseReference } from './reference.ts';

export const hubServer = 'https://index.docker.io/v1/';

export interface Credentials {
  readonly username?: string;
  readonly password?: string;
  readonly identitytoken?: string;
}

interface StoredAuth {
  readonly auth?: string;
  readonly identitytoken?: string;
}

interface AuthConfig {
  readonly auths?: Readonly<Record<string, StoredAuth>>;
  readonly credsStore?: string;
  readonly credHelpers?: Readonly<Record<string, string>>;
}

/** The secret of a helper's answer is a token where this is the user. */
const tokenUser = '<token>';

/** Throws CliError for a file that cannot be read, so that nothing is lost by writing it anew. */
function readConfig(path: string): AuthConfig {
  return readConfigFile(path);
}

/** Whole or not at all, and for the owner's eyes only; what the file leads to stays where it is. */
function writeConfig(path: string, config: AuthConfig): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  let target = path;
  try {
    target = realpathSync(path);
  } catch {
    // There is none yet.
  }
  const draft = `${target}.${process.pid}`;
  try {
    writeFileSync(draft, JSON.stringify(config, null, '\t'), { mode: 0o600, flag: 'wx' });
    renameSync(draft, target);
  } catch (error) {
    rmSync(draft, { force: true });
    throw error;
  }
}

function helperOf(config: AuthConfig, server: string): string | undefined {
  return config.credHelpers?.[server] ?? (config.credsStore || undefined);
}

/** What the helper prints; undefined where it has nothing. Throws CliError where it fails. */
function askHelper(io: Io, helper: string, action: string, input: string): string | undefined {
  const program = `docker-credential-${helper}`;
  const { error, status, stdout } = spawnSync(program, [action], { input, encoding: 'utf8', env: io.env });
  if (error !== undefined)
    throw new CliError(`error getting credentials - err: exec: "${program}": ${error.message}, out: \`\``);
  if (status === 0) return stdout;
  if (/credentials not found|no credentials server URL/i.test(stdout)) return undefined;
  throw new CliError(`error getting credentials - err: exit status ${status}, out: \`${stdout.trim()}\``);
}

/** Throws CliError. */
function parseAnswer(
  answer: string,
  helper: string,
): { readonly Username?: string; readonly Secret?: string } {
  try {
    const value: unknown = JSON.parse(answer);
    if (typeof value === 'object' && value !== null) return value;
  } catch {
    // Told below: what the parser says of it could show a secret.
  }
  throw new CliError(`error getting credentials - err: docker-credential-${helper} answers what is no JSON`);
}

function decodeAuth({ auth, identitytoken }: StoredAuth): Credentials {
  const [, username = '', password = ''] =
    /^([^:]*):([^]*)$/.exec(Buffer.from(auth ?? '', 'base64').toString('utf8')) ?? [];
  return {
    ...(username !== '' && { username }),
    ...(password !== '' && { password: password.replace(/\0+$/, '') }),
    ...(identitytoken && { identitytoken }),
  };
}

/** `host:port` of a key, which old files have as a URL. */
function hostOfKey(key: string): string {
  return key.replace(/^https?:\/\//, '').replace(/\/.*$/, '');
}

/** What is kept for `server`; empty if nothing is. Throws CliError where the file or its helper fails. */
export function findCredentials(io: Io, server: string): Credentials {
  return findIn(readConfig(configPath(io)), io, server);
}

function findIn(config: AuthConfig, io: Io, server: string): Credentials {
  const helper = helperOf(config, server);
  if (helper !== undefined) {
    const answer = askHelper(io, helper, 'get', server);
    if (answer === undefined) return {};
    const { Username = '', Secret = '' } = parseAnswer(answer, helper);
    return Username === tokenUser ? { identitytoken: Secret } : { username: Username, password: Secret };
  }
  const auths = config.auths ?? {};
  const key =
    server in auths ? server : Object.keys(auths).find((each) => hostOfKey(each) === hostOfKey(server));
  return key === undefined ? {} : decodeAuth(auths[key] ?? {});
}

/** Resolves with where they lie open to read; undefined where a helper keeps them, or they lay there already. */
export function storeCredentials(io: Io, server: string, given: Credentials): string | undefined {
  const path = configPath(io);
  const config = readConfig(path);
  const { username = '', password = '', identitytoken } = given;
  const helper = helperOf(config, server);
  if (helper !== undefined) {
    const secret = { Username: identitytoken ? tokenUser : username, Secret: identitytoken ?? password };
    askHelper(io, helper, 'store', JSON.stringify({ ServerURL: server, ...secret }));
    writeConfig(path, { ...config, auths: { ...config.auths, [server]: {} } });
    return undefined;
  }
  const auth = Buffer.from(`${username}:${password}`).toString('base64');
  const kept = { auth, ...(identitytoken !== undefined && { identitytoken }) };
  const before = config.auths?.[server];
  if (before?.auth === kept.auth && before.identitytoken === kept.identitytoken) return undefined;
  writeConfig(path, { ...config, auths: { ...config.auths, [server]: kept } });
  return password === '' ? undefined : path;
}

export function eraseCredentials(io: Io, server: string): void {
  const path = configPath(io);
  const config = readConfig(path);
  const helper = helperOf(config, server);
  if (helper !== undefined) askHelper(io, helper, 'erase', server);
  const { auths } = config;
  if (auths === undefined) return;
  const isOther = (key: string): boolean => key !== server && hostOfKey(key) !== hostOfKey(server);
  const kept = Object.fromEntries(Object.entries(auths).filter(([key]) => isOther(key)));
  if (Object.keys(kept).length !== Object.keys(auths).length) writeConfig(path, { ...config, auths: kept });
}

/** With padding, as Docker's clients send it. */
function encodeHeader(fields: object): string {
  const text = Buffer.from(JSON.stringify(fields)).toString('base64');
  return text.replaceAll('+', '-').replaceAll('/', '_');
}

/** The file, or nothing: of one that cannot be read the program told when it began. */
function configToShow(io: Io): AuthConfig {
  try {
    return readConfig(configPath(io));
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    return {};
  }
}

/** By server; a helper that fails is a warning, and has nothing: most of what registries have needs no credentials. */
function credentialsToShow(
  config: AuthConfig,
  io: Io,
  servers: Iterable<string>,
): Readonly<Record<string, Credentials>> {
  const found: Record<string, Credentials> = {};
  const failures = new Set<string>();
  for (const server of servers) {
    try {
      found[server] = findIn(config, io, server);
    } catch (error) {
      if (!(error instanceof CliError)) throw error;
      failures.add(error.message);
    }
  }
  for (const failure of failures) io.err(`WARNING: ${failure}\n`);
  return found;
}

/** The header by which a build shows what is kept for every registry: its images may come from any. */
export function registryConfig(io: Io): Readonly<Record<string, string>> {
  const config = configToShow(io);
  const servers = new Set([...Object.keys(config.auths ?? {}), ...Object.keys(config.credHelpers ?? {})]);
  return { 'X-Registry-Config': encodeHeader(credentialsToShow(config, io, servers)) };
}

/** The header by which pull and push show what is kept for the registry of `reference`. */
export function registryAuth(io: Io, reference: string): Readonly<Record<string, string>> {
  const { name } = parseReference(reference);
  const domain = name.slice(0, name.indexOf('/'));
  const server = domain === 'docker.io' ? hubServer : domain;
  const found = credentialsToShow(configToShow(io), io, [server])[server] ?? {};
  const fields = Object.keys(found).length === 0 ? {} : { ...found, serveraddress: server };
  return { 'X-Registry-Auth': encodeHeader(fields) };
}
