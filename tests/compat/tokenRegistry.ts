/*
 * Real registries that want to know who asks, for host A: Debian's docker-registry with a password file (Basic, port
 * 5010), and with a token server of our own (Bearer, port 5011; tokens at 5012). As a program it is that token server:
 * `tokenRegistry.ts FOLDER`. Users are ann with the password `secret`, who may do anything, and everybody, who may
 * pull from `open/`. A token is a JWT (distribution spec, "Token Authentication Implementation"), signed with a key
 * whose certificate the registry knows.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createSign, randomBytes, X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { eventually } from './command.ts';
import { inHost } from './hosts.ts';

const root = join(import.meta.dirname, '../..');

/** bcrypt of `secret`. */
const passwordFile = 'ann:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n';
const refreshToken = 'ann-may-go-on';

function base64(bytes: Uint8Array | string): string {
  return Buffer.from(bytes).toString('base64url');
}

/** `repository:a/b:pull,push` for what of it is granted. */
function grant(scope: string, isKnown: boolean): readonly object[] {
  const [type = '', name = '', actions = ''] = scope.split(':');
  const granted = actions
    .split(',')
    .filter((action) => isKnown || (action === 'pull' && name.startsWith('open/')));
  return granted.length === 0 ? [] : [{ type, name, actions: granted }];
}

function makeToken(folder: string, scopes: readonly string[], isKnown: boolean): string {
  const certificate = new X509Certificate(readFileSync(join(folder, 'cert.pem')));
  const now = Math.trunc(Date.now() / 1000);
  const header = { typ: 'JWT', alg: 'RS256', x5c: [certificate.raw.toString('base64')] };
  const claims = {
    ...{ iss: 'tokens', sub: isKnown ? 'ann' : '', aud: 'registry', jti: randomBytes(8).toString('hex') },
    ...{ exp: now + 300, nbf: now - 10, iat: now },
    access: scopes.flatMap((scope) => grant(scope, isKnown)),
  };
  const signed = `${base64(JSON.stringify(header))}.${base64(JSON.stringify(claims))}`;
  const signature = createSign('RSA-SHA256')
    .update(signed)
    .sign(readFileSync(join(folder, 'key.pem')));
  return `${signed}.${base64(signature)}`;
}

async function answer(folder: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { searchParams: query } = new URL(request.url ?? '/', 'http://tokens');
  const form = new URLSearchParams(request.method === 'POST' ? await text(request) : '');
  const given = request.headers.authorization;
  const isAnn = given === `Basic ${Buffer.from('ann:secret').toString('base64')}`;
  const isRefreshed = form.get('refresh_token') === refreshToken;
  const isWrong = (given !== undefined && !isAnn) || (request.method === 'POST' && !isRefreshed);
  response.setHeader('content-type', 'application/json');
  if (isWrong) {
    const message = 'incorrect username or password';
    response.writeHead(401).end(JSON.stringify({ errors: [{ code: 'UNAUTHORIZED', message }] }));
    return;
  }
  const isKnown = isAnn || isRefreshed;
  const scopes = [...query.getAll('scope'), ...(form.get('scope')?.split(' ') ?? [])];
  const token = makeToken(folder, scopes, isKnown);
  const offline = query.get('offline_token') === 'true' && isKnown ? { refresh_token: refreshToken } : {};
  response.end(JSON.stringify({ token, access_token: token, expires_in: 300, ...offline }));
}

function configurationOf(folder: string, port: number, auth: string): string {
  const path = join(folder, `${port}.yml`);
  const storage = `storage:\n  filesystem:\n    rootdirectory: ${join(folder, String(port))}\n`;
  const http = `http:\n  addr: 127.0.0.1:${port}\n  secret: x\n`;
  writeFileSync(path, `version: 0.1\n${storage}${http}auth:\n${auth}`);
  return path;
}

/** All three, answering. Host A exists already. */
export async function startClosedRegistries(): Promise<Disposable> {
  const folder = mkdtempSync('/run/compat/closed');
  const [key, certificate] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
  const subject = ['-subj', '/CN=tokens', '-days', '2', '-nodes', '-newkey', 'rsa:2048'];
  execFileSync('openssl', ['req', '-x509', ...subject, '-keyout', key, '-out', certificate], {
    stdio: 'ignore',
  });
  writeFileSync(join(folder, 'htpasswd'), passwordFile);
  const basic = `  htpasswd:\n    realm: here\n    path: ${join(folder, 'htpasswd')}\n`;
  const bearer = [
    '  token:',
    ...['    realm: http://127.0.0.1:5012/token', '    service: registry', '    issuer: tokens'],
    `    rootcertbundle: ${certificate}\n`,
  ].join('\n');
  const start = (...words: readonly string[]): ChildProcess => {
    const [program = '', ...args] = [...inHost('A'), ...words];
    return spawn(program, args, { stdio: 'ignore' });
  };
  const children = [
    start('docker-registry', 'serve', configurationOf(folder, 5010, basic)),
    start('docker-registry', 'serve', configurationOf(folder, 5011, bearer)),
    start(join(root, 'scripts/node'), import.meta.filename, folder),
  ];
  const isUp = await eventually(() => {
    try {
      for (const path of ['5010/', '5011/', '5012/token'])
        execFileSync(inHost('A')[0] ?? '', [
          ...inHost('A').slice(1),
          ...['curl', '-so', '/dev/null', `http://127.0.0.1:${path}`],
        ]);
      return true;
    } catch {
      return false;
    }
  }, 20_000);
  if (!isUp) throw new Error('docker-registry does not answer; scripts/test-tools unpacks it');
  return {
    [Symbol.dispose]: () => {
      for (const child of children) child.kill('SIGKILL');
    },
  };
}

if (process.argv[1] === import.meta.filename) {
  const folder = process.argv[2] ?? '';
  createServer((request, response) => void answer(folder, request, response)).listen(5012, '127.0.0.1');
}
