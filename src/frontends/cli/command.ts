/*
 * What a command is: its words, its place in the help, its flags, how many arguments it takes, and what it does.
 */
import type { ConfigFile } from './configFile.ts';
import type { FlagSpec, Flags } from './flags.ts';
import type { ApiClient } from './http/apiClient.ts';
import type { Io } from './io.ts';

export interface Invocation {
  /** The words that the user typed for the command: `run` or `container run`. */
  readonly path: string;
  readonly flags: Flags;
  readonly args: readonly string[];
  readonly client: ApiClient;
  readonly io: Io;
  readonly config: ConfigFile;
}

export type Arity =
  | { readonly type: 'exactly'; readonly count: number }
  | { readonly type: 'atLeast'; readonly count: number }
  | { readonly type: 'atMost'; readonly count: number }
  | { readonly type: 'between'; readonly low: number; readonly high: number };

/** What commands of two words share: `network`. */
export interface Group {
  readonly name: string;
  readonly summary: string;
}

export interface Command {
  /** Every way to type it, the one shown in help first: `['run', 'container run']`. */
  readonly paths: readonly [string, ...string[]];
  /** What help lists under "Aliases", where that is more than `paths`. */
  readonly summary: string;
  /** Arguments as help shows them, `[OPTIONS]` included: `[OPTIONS] IMAGE [COMMAND] [ARG...]`. */
  readonly usage: string;
  readonly arity: Arity;
  readonly flags: readonly FlagSpec[];
  /** Whole command lines without `linkspan`, each after a few words of explanation. */
  readonly examples: readonly (readonly [explanation: string, line: string])[];
  /** True where what follows the first argument is not for the CLI (`run`, `exec`, `top`). */
  readonly stopsAtFirstArgument?: boolean;
  /** Completes its arguments with names of this kind. */
  readonly completes?:
    | 'container'
    | 'network'
    | 'image'
    | 'networkThenContainer'
    | 'volume'
    | 'node'
    | 'object'
    | 'labHost';
  readonly run: (invocation: Invocation) => Promise<void>;
}

export const noArguments: Arity = { type: 'exactly', count: 0 };
export const oneArgument: Arity = { type: 'exactly', count: 1 };
export const twoArguments: Arity = { type: 'exactly', count: 2 };
export const someArguments: Arity = { type: 'atLeast', count: 1 };

function plural(count: number): string {
  return count === 1 ? 'argument' : 'arguments';
}

/** Why `count` arguments do not fit, in Docker's words; undefined if they do. */
export function arityProblem(arity: Arity, count: number): string | undefined {
  switch (arity.type) {
    case 'exactly':
      if (count === arity.count) return undefined;
      return arity.count === 0 ? 'accepts no arguments' : `requires ${arity.count} ${plural(arity.count)}`;
    case 'atLeast':
      return count >= arity.count ? undefined : `requires at least ${arity.count} ${plural(arity.count)}`;
    case 'atMost':
      return count <= arity.count ? undefined : `requires at most ${arity.count} ${plural(arity.count)}`;
    case 'between':
      return count >= arity.low && count <= arity.high
        ? undefined
        : `requires at least ${arity.low} and at most ${arity.high} ${plural(arity.high)}`;
  }
}
