/*
 * What a registry asks for when it answers 401: the WWW-Authenticate header (RFC 9110 section 11.6.1), of which
 * registries use the schemes Basic and Bearer (distribution spec, token authentication). Pure.
 */

export interface Challenge {
  /** Lower case: `basic`, `bearer`. */
  readonly scheme: string;
  /** Names in lower case; values without quotes. */
  readonly parameters: Readonly<Record<string, string>>;
}

const separator = /[\s,]*/y;
const token = /[\w!#$%&'*+.^`|~-]+/y;
const value = /\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))/y;

/** All challenges of a header, in order. What cannot be read ends the list. */
export function parseChallenges(header: string): readonly Challenge[] {
  const challenges: { scheme: string; parameters: Record<string, string> }[] = [];
  let at = 0;
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const match = pattern.exec(header);
    if (match !== null) at = pattern.lastIndex;
    return match;
  };
  for (;;) {
    take(separator);
    const word = take(token)?.[0].toLowerCase();
    if (word === undefined) return challenges;
    const given = take(value);
    if (given === null) {
      challenges.push({ scheme: word, parameters: {} });
      continue;
    }
    const current = challenges.at(-1);
    if (current === undefined) return challenges;
    current.parameters[word] = given[1]?.replaceAll(/\\(.)/g, '$1') ?? given[2] ?? '';
  }
}
