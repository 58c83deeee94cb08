/*
 * Values of `run` flags that are checked while flags are read: `--add-host`, `--ulimit`, `--attach`, `--env`. Pure.
 */
import { parseIp } from '../../../net/ip.ts';
import { CliError } from '../cliError.ts';
import { splitPair } from '../flags.ts';

/** `nofile=1024:2048`: soft, then hard limit; one number means both. Throws CliError. */
export function parseUlimit(text: string): { Name: string; Hard: number; Soft: number } {
  const [name, limits] = splitPair(text);
  const [soft = '', hard = soft] = limits.split(':');
  if (!/^-?\d+$/.test(soft) || !/^-?\d+$/.test(hard)) throw new CliError(`invalid ulimit argument: ${text}`);
  return { Name: name, Hard: Number(hard), Soft: Number(soft) };
}

/** `name:address` or `name=address` in the API's form `name:address`. Throws CliError. */
export function parseAddHost(text: string): string {
  const at = text.search(/[:=]/);
  if (at <= 0) throw new CliError(`bad format for add-host: "${text}"`);
  const address = text.slice(at + 1).replace(/^\[(.*)\]$/, '$1');
  if (address !== 'host-gateway' && parseIp(address) === undefined)
    throw new CliError(`invalid IP address in add-host: "${address}"`);
  return `${text.slice(0, at)}:${address}`;
}

/** Throws CliError unless `text` names a stream, in any case. */
export function parseStreamName(text: string): string {
  const name = text.toLowerCase();
  if (!['stdin', 'stdout', 'stderr'].includes(name))
    throw new CliError('valid streams are STDIN, STDOUT and STDERR');
  return name;
}

/** Throws CliError unless `text` begins with a variable's name. */
export function checkVariable(text: string): void {
  if (text === '' || text.startsWith('=')) throw new CliError(`invalid environment variable: ${text}`);
}
