/*
 * Table and targets of what terminal.ts measured. Pure; the result is its JSON.
 */
import type { Quantiles } from './quantiles.ts';
import { ratio, type Target } from './target.ts';

export interface TerminalResult {
  readonly rounds: number;
  /** In the order of the table. */
  readonly operations: readonly string[];
  readonly engines: readonly {
    readonly name: string;
    readonly version: string;
    /** By operation. */
    readonly ms: Readonly<Record<string, Quantiles>>;
  }[];
}

/** What `run --rm` may take of dockerd's time; everything else may take as long as there. */
const runLimit = 0.6;

function ratios({ operations, engines }: TerminalResult): readonly (readonly [string, number | undefined])[] {
  const median = (name: string, what: string): number | undefined =>
    engines.find((engine) => engine.name === name)?.ms[what]?.median;
  return operations.map((what) => [what, ratio(median('linkspan', what), median('docker', what))]);
}

export function terminalTargets(result: TerminalResult): readonly Target[] {
  return ratios(result).map(([what, value]) => ({
    what: `\`docker ${what}\`, of dockerd's time`,
    value,
    limit: what.startsWith('run --rm ') ? runLimit : 1,
    unit: '',
  }));
}

export function terminalTable(result: TerminalResult): readonly string[] {
  const { rounds, engines } = result;
  return [
    `With docker's command line, ${rounds} rounds taking turns, milliseconds, median (lower quartile); the start of that program is in all of them:`,
    '',
    `| docker | ${engines.map(({ name, version }) => `${name} ${version}`).join(' | ')} | ratio |`,
    `|---|${engines.map(() => '---').join('|')}|---|`,
    ...ratios(result).map(([what, value]) => {
      const cells = engines.map(({ ms }) => `${ms[what]?.median ?? ''} (${ms[what]?.p25 ?? ''})`);
      return `| ${what} | ${cells.join(' | ')} | ${value?.toFixed(2) ?? ''} |`;
    }),
  ];
}
