/*
 * Dockerfile instructions that `import -c` and `commit -c` may apply to an image's config. Pure. Not a Dockerfile parser: one
 * instruction per string, no continuation lines, no build stages. Syntax: Dockerfile reference; texts: Engine 28.
 */
import { LinkspanError } from '../../errors/linkspanError.ts';
import { type HealthcheckDraft, parseHealthChange } from './healthChange.ts';

/** The `config` object of an OCI image config, as far as changes touch it. */
export interface ConfigDraft {
  Env?: string[];
  Cmd?: string[];
  Entrypoint?: string[];
  ExposedPorts?: Record<string, object>;
  Volumes?: Record<string, object>;
  WorkingDir?: string;
  User?: string;
  Labels?: Record<string, string>;
  StopSignal?: string;
  Healthcheck?: HealthcheckDraft;
  Shell?: string[];
  OnBuild?: string[];
}

/** Known to Dockerfiles, but nothing that an image's config could take. */
const foreignInstructions = new Set(['ADD', 'ARG', 'COPY', 'FROM', 'MAINTAINER', 'RUN', 'SHELL']);

function refuse(text: string): never {
  throw new LinkspanError('requestInvalid', text);
}

/** `["a","b"]` as a list; undefined if it is not a JSON array of strings (then it is shell form). */
function parseJsonList(text: string): string[] | undefined {
  if (!text.startsWith('[')) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) && value.every((item) => typeof item === 'string') ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Words split at blanks, with quotes and backslashes taken off. */
export function splitWords(text: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  let quote = '';
  for (let i = 0; i < text.length; i++) {
    const c = text.charAt(i);
    if (c === '\\' && quote !== "'" && i + 1 < text.length) {
      word = (word ?? '') + text.charAt(++i);
    } else if (quote !== '') {
      if (c === quote) quote = '';
      else word = (word ?? '') + c;
    } else if (c === '"' || c === "'") {
      quote = c;
      word ??= '';
    } else if (/\s/.test(c)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else word = (word ?? '') + c;
  }
  if (quote !== '')
    refuse(
      `dockerfile parse error on line 1: unexpected end of statement while looking for matching ${quote === '"' ? 'double' : 'single'}-quote`,
    );
  if (word !== undefined) words.push(word);
  return words;
}

/** `K=V K2="v 2"`, or the old form `K the rest`. */
function parsePairs(name: string, rest: string): (readonly [string, string])[] {
  const first = /^(\S+)\s*/.exec(rest);
  if (first === null) refuse(`${name} requires at least one argument`);
  const [head = '', key = ''] = first;
  if (!key.includes('=')) {
    const value = rest.slice(head.length);
    if (value === '') refuse(`${name} must have two arguments`);
    return [[key, value]];
  }
  return splitWords(rest).map((word) => {
    const at = word.indexOf('=');
    if (at < 0)
      refuse(`Syntax error - can't find = in ${JSON.stringify(word)}. Must be of the form: name=value`);
    if (at === 0) refuse(`${name} names can not be blank`);
    return [word.slice(0, at), word.slice(at + 1)] as const;
  });
}

/** `80`, `80/udp`, `8000-8010/tcp` → port keys. */
function parsePorts(word: string): string[] {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?(?:\/(tcp|udp|sctp))?$/i.exec(word);
  const from = Number(match?.[1]);
  const to = Number(match?.[2] ?? match?.[1]);
  if (match === null || from < 1 || to > 65535 || to < from) refuse(`invalid containerPort: ${word}`);
  const protocol = (match[3] ?? 'tcp').toLowerCase();
  return Array.from({ length: to - from + 1 }, (_, i) => `${from + i}/${protocol}`);
}

function joinWorkingDir(before: string | undefined, rest: string): string {
  const path = rest.startsWith('/') ? rest : `${before ?? ''}/${rest}`;
  const parts: string[] = [];
  for (const part of path.split('/'))
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  return `/${parts.join('/')}`;
}

function applyOne(draft: ConfigDraft, instruction: string, rest: string): void {
  const command = (): string[] => parseJsonList(rest) ?? ['/bin/sh', '-c', rest];
  const needRest = (): string =>
    rest === '' ? refuse(`${instruction} requires exactly one argument`) : rest;
  switch (instruction) {
    case 'CMD':
      draft.Cmd = rest === '' ? [] : command();
      return;
    case 'ENTRYPOINT':
      draft.Entrypoint = rest === '' ? [] : command();
      return;
    case 'ENV':
      for (const [key, value] of parsePairs('ENV', rest)) {
        const env = draft.Env ?? [];
        const at = env.findIndex((entry) => entry.startsWith(`${key}=`));
        draft.Env = at < 0 ? [...env, `${key}=${value}`] : env.with(at, `${key}=${value}`);
      }
      return;
    case 'LABEL':
      draft.Labels = { ...draft.Labels, ...Object.fromEntries(parsePairs('LABEL', rest)) };
      return;
    case 'EXPOSE':
      for (const port of splitWords(needRest()).flatMap(parsePorts))
        draft.ExposedPorts = { ...draft.ExposedPorts, [port]: {} };
      return;
    case 'VOLUME':
      for (const path of parseJsonList(needRest()) ?? splitWords(rest))
        draft.Volumes = { ...draft.Volumes, [path]: {} };
      return;
    case 'USER':
      draft.User = needRest();
      return;
    case 'WORKDIR':
      draft.WorkingDir = joinWorkingDir(draft.WorkingDir, splitWords(needRest()).join(' '));
      return;
    case 'STOPSIGNAL':
      draft.StopSignal = needRest();
      return;
    case 'ONBUILD':
      draft.OnBuild = [...(draft.OnBuild ?? []), needRest()];
      return;
    case 'HEALTHCHECK':
      draft.Healthcheck = parseHealthChange(rest, parseJsonList);
      return;
    default:
      if (foreignInstructions.has(instruction))
        refuse(`${instruction.toLowerCase()} is not a valid change command`);
      refuse(`dockerfile parse error on line 1: unknown instruction: ${instruction}`);
  }
}

/**
 * What these instructions, in order, make of `base`. An ENTRYPOINT takes away a command that was meant for another one.
 * Throws requestInvalid naming the first that is wrong.
 */
export function applyChanges(changes: readonly string[], base: ConfigDraft = {}): ConfigDraft {
  const draft: ConfigDraft = { ...base };
  let hasCommand = false;
  for (const change of changes.flatMap((text) => text.split('\n'))) {
    const match = /^\s*(\S+)\s*([\s\S]*?)\s*$/.exec(change);
    if (match === null) continue;
    const [, word = '', rest = ''] = match;
    if (word.startsWith('#')) continue;
    const instruction = word.toUpperCase();
    applyOne(draft, instruction, rest);
    hasCommand ||= instruction === 'CMD';
    if (instruction === 'ENTRYPOINT' && !hasCommand) delete draft.Cmd;
  }
  return draft;
}
