/*
 * The Dockerfile instruction HEALTHCHECK in the form that an image's config has: `[--interval=30s …] CMD command` or
 * `NONE`. Pure. Texts: Engine 28.
 */
import { LinkspanError } from '../../errors/linkspanError.ts';

/** `Healthcheck` of an image's config; durations are nanoseconds. */
export interface HealthcheckDraft {
  Test: string[];
  Interval?: number;
  Timeout?: number;
  StartPeriod?: number;
  StartInterval?: number;
  Retries?: number;
}

const unitNs: Readonly<Record<string, number>> = {
  ns: 1,
  us: 1e3,
  '\u00b5s': 1e3,
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9,
};

const durationFields: Readonly<Record<string, 'Interval' | 'Timeout' | 'StartPeriod' | 'StartInterval'>> = {
  interval: 'Interval',
  timeout: 'Timeout',
  'start-period': 'StartPeriod',
  'start-interval': 'StartInterval',
};

function refuse(text: string): never {
  throw new LinkspanError('requestInvalid', text);
}

/** Nanoseconds in a Go duration such as `1h2m3.5s`. */
function parseDuration(text: string): number {
  if (!/^(\d+(\.\d+)?(ns|us|\u00b5s|ms|s|m|h))+$|^0$/.test(text))
    refuse(`time: invalid duration ${JSON.stringify(text)}`);
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)([a-z\u00b5]+)/g)];
  return Math.round(
    parts.reduce((sum, [, amount = '0', unit = '']) => sum + Number(amount) * (unitNs[unit] ?? 0), 0),
  );
}

function readFlag(draft: HealthcheckDraft, name: string, value: string): void {
  const field = durationFields[name];
  if (field !== undefined) {
    const ns = parseDuration(value);
    if (ns !== 0 && ns < 1e6) refuse(`Interval "${name}" cannot be less than 1ms`);
    if (ns !== 0) draft[field] = ns;
  } else if (name === 'retries') {
    if (!/^\d+$/.test(value)) refuse(`strconv.ParseInt: parsing ${JSON.stringify(value)}: invalid syntax`);
    if (Number(value) !== 0) draft.Retries = Number(value);
  } else refuse(`unknown flag: ${name}`);
}

/** `rest` is what follows the instruction; `listOf` reads the JSON form of a command, undefined if it is shell form. */
export function parseHealthChange(
  rest: string,
  listOf: (text: string) => string[] | undefined,
): HealthcheckDraft {
  const draft: HealthcheckDraft = { Test: [] };
  let left = rest;
  for (
    let flag = /^--([a-z-]+)=(\S*)\s*/.exec(left);
    flag !== null;
    flag = /^--([a-z-]+)=(\S*)\s*/.exec(left)
  ) {
    readFlag(draft, flag[1] ?? '', flag[2] ?? '');
    left = left.slice(flag[0].length);
  }
  const [, kind = '', command = ''] = /^(\S*)\s*([\s\S]*)$/.exec(left) ?? [];
  switch (kind.toUpperCase()) {
    case '':
      return refuse('HEALTHCHECK requires at least one argument');
    case 'NONE':
      if (command !== '') refuse('HEALTHCHECK NONE takes no arguments');
      return { Test: ['NONE'] };
    case 'CMD': {
      if (command === '') refuse('Missing command after HEALTHCHECK CMD');
      const list = listOf(command);
      return { ...draft, Test: list === undefined ? ['CMD-SHELL', command] : ['CMD', ...list] };
    }
    default:
      return refuse(`Unknown type ${JSON.stringify(kind)} in HEALTHCHECK (try CMD)`);
  }
}
