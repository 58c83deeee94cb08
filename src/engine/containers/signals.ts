/*
 * Signals as users name them: `KILL`, `SIGKILL`, `9`, `RTMIN+3`. signal(7), x86 and ARM numbers.
 */
import { constants } from 'node:os';
import { LinkspanError } from '../../errors/linkspanError.ts';

const sigRtMin = 34;
const sigRtMax = 64;

function realTime(name: string): number | undefined {
  const match = /^RTM(?:IN(?:\+(\d{1,2}))?|AX(?:-(\d{1,2}))?)$/.exec(name);
  if (match === null) return undefined;
  return name.startsWith('RTMIN') ? sigRtMin + Number(match[1] ?? 0) : sigRtMax - Number(match[2] ?? 0);
}

/** The number, 1 to 64. Throws requestInvalid for what is no signal. */
export function parseSignal(text: string): number {
  const name = text.toUpperCase().replace(/^SIG/, '');
  const known = (constants.signals as Readonly<Record<string, number>>)[`SIG${name}`];
  const number = /^\d+$/.test(text) ? Number(text) : (known ?? realTime(name));
  if (number !== undefined && number >= 1 && number <= sigRtMax) return number;
  throw new LinkspanError(
    'requestInvalid',
    number !== undefined && number > sigRtMax
      ? `the linux daemon does not support signal ${number}`
      : `invalid signal: ${text}`,
  );
}
