/*
 * Container names: Docker's rules, and invented ones for those who give none. Pure but for chance.
 */
import { randomInt } from 'node:crypto';
import { LinkspanError } from '../../errors/linkspanError.ts';
import { adjectives, surnames } from './words.ts';

/** A name without its leading slash. Throws containerConfigInvalid with Docker's text. */
export function checkName(given: string): string {
  const name = given.startsWith('/') ? given.slice(1) : given;
  if (/^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/.test(name)) return name;
  throw new LinkspanError(
    'containerConfigInvalid',
    `Invalid container name (${given}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed`,
  );
}

function pick(words: readonly string[]): string {
  return words[randomInt(words.length)] ?? '';
}

/** `calm_turing`, one that `isTaken` denies; after some tries with a digit, so that it always ends. */
export function inventName(isTaken: (name: string) => boolean): string {
  for (let attempt = 0; ; attempt += 1) {
    const name = `${pick(adjectives)}_${pick(surnames)}${attempt < 6 ? '' : randomInt(10 ** (attempt - 5))}`;
    if (!isTaken(name)) return name;
  }
}
