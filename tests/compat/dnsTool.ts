/*
 * dnsPeer as a program, to be run inside some namespace. Results are JSON on standard output:
 *   ask SERVER NAME TYPE [tcp] [udpBytes=N] [times=N]   the answer, or N of them
 *   serve ADDRESS MODE                                  a server on port 53, until killed; prints `ready`
 */
import { recordType } from '../../src/codec/dns/message.ts';
import { askTcp, askUdp, newQuery, serveNames, type TimedAnswer, toAnswer } from './dnsPeer.ts';

function typeOf(text: string): number {
  const type = (recordType as Readonly<Record<string, number>>)[text.toLowerCase()];
  if (type === undefined) throw new Error(`unknown type ${text}`);
  return type;
}

async function ask(server: string, name: string, type: string, options: readonly string[]): Promise<unknown> {
  const numberOf = (key: string): number | undefined => {
    const found = options.find((option) => option.startsWith(`${key}=`));
    return found === undefined ? undefined : Number(found.slice(key.length + 1));
  };
  const query = newQuery(name, typeOf(type), numberOf('udpBytes'), 4711);
  const how = options.includes('tcp') ? askTcp : askUdp;
  const answers: TimedAnswer[] = [];
  for (let i = numberOf('times') ?? 1; i > 0; i--) {
    const start = performance.now();
    const bytes = await how(server, 53, query);
    answers.push({ ...toAnswer(bytes), ms: performance.now() - start });
  }
  return answers.length === 1 ? answers[0] : answers;
}

async function main([command = '', ...args]: readonly string[]): Promise<void> {
  const [server = '', name = '', third = '', ...options] = args;
  switch (command) {
    case 'ask':
      process.stdout.write(`${JSON.stringify(await ask(server, name, third, options))}\n`);
      return;
    case 'serve':
      await serveNames(server, name);
      process.stdout.write('ready\n');
      return;
    default:
      throw new Error(`unknown command ${command}`);
  }
}

await main(process.argv.slice(2));
