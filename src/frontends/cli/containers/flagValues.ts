/*
 * Values of `run` flags that are checked while flags are read: `--add-host`, `--ulimit`, `--attach`, `--env`, and those
 * that limit a block device. Pure.
 */
import { parseIp } from '../../../net/ip.ts';
import { CliError } from '../cliError.ts';
import { splitPair } from '../flags.ts';
import { parseMemoryBytes } from '../text/units.ts';

/** Of setrlimit(2), as Docker's CLI knows them. */
const ulimitNames: ReadonlySet<string> = new Set(
  'core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack'.split(
    ' ',
  ),
);

/** `nofile=1024:2048`: soft, then hard limit; one number means both. Throws CliError. */
export function parseUlimit(text: string): { Name: string; Hard: number; Soft: number } {
  const [name, limits] = splitPair(text);
  const [soft = '', hard = soft] = limits.split(':');
  if (!/^-?\d+$/.test(soft) || !/^-?\d+$/.test(hard)) throw new CliError(`invalid ulimit argument: ${text}`);
  if (!ulimitNames.has(name)) throw new CliError(`invalid ulimit type: ${name}`);
  const isAbove = (one: string, other: string): boolean =>
    other !== '-1' && (one === '-1' || Number(one) > Number(other));
  if (isAbove(soft, hard))
    throw new CliError(`ulimit soft limit must be less than or equal to hard limit: ${soft} > ${hard}`);
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

/** `/dev/sda:VALUE` in two. Throws CliError. */
function splitDevice(text: string): readonly [path: string, value: string] {
  const at = text.indexOf(':');
  if (at <= 0) throw new CliError(`bad format: ${text}`);
  const path = text.slice(0, at);
  if (!path.startsWith('/dev/')) throw new CliError(`bad format for device path: ${text}`);
  return [path, text.slice(at + 1)];
}

/** `/dev/sda:1mb`, in bytes a second. Throws CliError. */
export function parseDeviceBytes(text: string): { Path: string; Rate: number } {
  const [Path, value] = splitDevice(text);
  const Rate = parseMemoryBytes(value);
  if (Rate === undefined || Rate < 0)
    throw new CliError(
      `invalid rate for device: ${text}. The correct format is <device-path>:<number>[<unit>]. Number must be a positive integer. Unit is optional and can be kb, mb, or gb`,
    );
  return { Path, Rate };
}

/** `/dev/sda:100`, in operations a second. Throws CliError. */
export function parseDeviceOperations(text: string): { Path: string; Rate: number } {
  const [Path, value] = splitDevice(text);
  if (!/^\d+$/.test(value))
    throw new CliError(
      `invalid rate for device: ${text}. The correct format is <device-path>:<number>. Number must be a positive integer`,
    );
  return { Path, Rate: Number(value) };
}

/** `/dev/sda:500`; 10 to 1000, or 0. Throws CliError. */
export function parseDeviceWeight(text: string): { Path: string; Weight: number } {
  const [Path, value] = splitDevice(text);
  const Weight = Number(value);
  if (!/^\d+$/.test(value) || (Weight > 0 && (Weight < 10 || Weight > 1000)))
    throw new CliError(`invalid weight for device: ${text}`);
  return { Path, Weight };
}

/** `c 10:* rwm`. Throws CliError. */
export function checkDeviceRule(text: string): void {
  if (!/^[acb] ([0-9]+|\*):([0-9]+|\*) [rwm]{1,3}$/.test(text))
    throw new CliError(`invalid device cgroup format '${text}'`);
}

/** `/dev/a`, `/dev/a:/dev/b`, `/dev/a:r` or `/dev/a:/dev/b:rw`. Throws CliError. */
export function parseDevice(text: string): object {
  const parts = text.split(':');
  const [host = '', second, third] = parts;
  if (parts.length > 3 || host === '') throw new CliError(`bad format for path: ${text}`, 125);
  const isMode = (word: string): boolean => /^[rwm]+$/.test(word) && new Set(word).size === word.length;
  if (third !== undefined && !isMode(third)) throw new CliError(`bad mode specified: ${third}`, 125);
  const isSecondMode = second !== undefined && third === undefined && isMode(second);
  const inside = second === undefined || isSecondMode ? host : second;
  if (!inside.startsWith('/')) throw new CliError(`${inside} is not an absolute path`, 125);
  return {
    PathOnHost: host,
    PathInContainer: inside,
    CgroupPermissions: third ?? (isSecondMode ? second : 'rwm'),
  };
}
