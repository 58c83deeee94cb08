/*
 * .dockerignore: which files of a build's context stay at home. Rules: Docker's documentation of the file and Go's
 * filepath.Match; a later pattern beats an earlier one, `!` brings back, and what is said of a folder holds for all in it.
 */

interface Rule {
  readonly isException: boolean;
  readonly pattern: RegExp;
}

const special = /[.+^${}()|\\[\]]/;

/** Of a class `[…]` at `at`: its source and where it ends; undefined if it has no end. */
function classAt(pattern: string, at: number): readonly [source: string, end: number] | undefined {
  const match = /^\[(\^?)((?:\\.|[^\]\\])+)\]/.exec(pattern.slice(at));
  if (match === null) return undefined;
  const [whole, not = '', inside = ''] = match;
  return [`[${not}${inside.replaceAll('[', '\\[')}]`, at + whole.length];
}

/** `**` stands for any folders, `*` and `?` for what is within one name. Throws SyntaxError for a malformed pattern. */
function toRegExp(pattern: string): RegExp {
  let source = '';
  for (let at = 0; at < pattern.length; ) {
    const c = pattern[at] as string;
    const found = c === '[' ? classAt(pattern, at) : undefined;
    if (pattern.startsWith('**/', at)) {
      source += '(?:.*/)?';
      at += 3;
    } else if (pattern.startsWith('**', at)) {
      source += '.*';
      at += 2;
    } else if (found !== undefined) {
      source += found[0];
      at = found[1];
    } else {
      const literal = c === '\\' ? (pattern[(at += 1)] ?? '\\') : c;
      if (c === '[') throw new SyntaxError(`syntax error in pattern: ${pattern}`);
      if (c === '*') source += '[^/]*';
      else if (c === '?') source += '[^/]';
      else source += special.test(literal) ? `\\${literal}` : literal;
      at += 1;
    }
  }
  return new RegExp(`^${source}(?:/|$)`, 's');
}

/** As Go's filepath.Clean, below the context: `/a/./b/` and `a/c/../b` are `a/b`. */
function cleanPath(path: string): string {
  const parts: string[] = [];
  for (const part of path.split('/'))
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  return parts.join('/');
}

export interface IgnoreFile {
  /** Of a path relative to the context, without a leading slash. */
  ignores(path: string): boolean;
  /** Something below an ignored folder may be wanted all the same. */
  readonly hasExceptions: boolean;
}

/** `wanted` are files that are sent whatever the patterns say. Throws SyntaxError for a malformed pattern. */
export function parseIgnoreFile(text: string, wanted: readonly string[] = []): IgnoreFile {
  const rules = text
    .replace(/^\uFEFF/, '')
    .split('\n')
    .filter((line) => !line.startsWith('#'))
    .map((line) => line.trim())
    .flatMap((line): readonly Rule[] => {
      const isException = line.startsWith('!');
      const pattern = cleanPath(isException ? line.slice(1).trim() : line);
      return pattern === '' ? [] : [{ isException, pattern: toRegExp(pattern) }];
    });
  return {
    hasExceptions: rules.some(({ isException }) => isException),
    ignores: (path) => {
      if (wanted.includes(path)) return false;
      const last = rules.findLast(({ pattern }) => pattern.test(path));
      return last !== undefined && !last.isException;
    },
  };
}
