/*
 * `doctor`: what the daemon finds when it looks itself over, and `firewall dump`, its rules.
 */
import { CliError, silentExit } from '../cliError.ts';
import { type Command, noArguments } from '../command.ts';
import { flag } from '../flags.ts';
import { programName } from '../help.ts';
import { parseJson } from '../text/goJson.ts';

interface Condition {
  readonly severity: string;
  readonly since: string;
  readonly text: string;
}

/** The part of /linkspan/v1/doctor that is shown. */
export interface DoctorReport {
  readonly severity: 'ok' | 'warning' | 'error';
  readonly kernel: readonly {
    readonly name: string;
    readonly isPresent: boolean;
    readonly isRequired: boolean;
    readonly detail: string;
  }[];
  readonly cgroupVersion: number;
  readonly conditions: readonly Condition[];
  readonly conflicts: readonly Condition[];
  readonly leaks: readonly { readonly text: string }[];
  readonly repairs: {
    readonly counts: Readonly<Record<string, number>>;
    readonly recent: readonly { readonly at: string; readonly object: string; readonly cause: string }[];
  };
}

function section(title: string, rows: readonly string[]): string {
  return `${title}:\n${(rows.length === 0 ? ['none'] : rows).map((row) => `  ${row}\n`).join('')}`;
}

function featureRow({ name, isPresent, isRequired, detail }: DoctorReport['kernel'][number]): string {
  const missing = isRequired ? 'MISSING, and needed' : 'missing';
  return `${name.padEnd(20)} ${isPresent ? 'yes' : missing}${detail === '' ? '' : ` (${detail})`}`;
}

const conditionRow = ({ severity, since, text }: Condition): string => `${severity} since ${since}: ${text}`;

/** The report as text. Pure. */
export function formatDoctor({ kernel, repairs, ...report }: DoctorReport): string {
  const total = Object.values(repairs.counts).reduce((sum, count) => sum + count, 0);
  return [
    section('Kernel', [...kernel.map(featureRow), `${'cgroup version'.padEnd(20)} ${report.cgroupVersion}`]),
    section('Conditions', report.conditions.map(conditionRow)),
    section('Conflicts with other firewalls', report.conflicts.map(conditionRow)),
    section(
      'Leaks',
      report.leaks.map(({ text }) => text),
    ),
    section(
      `Repairs since the daemon started (${total})`,
      repairs.recent.map(({ at, object, cause }) => `${at} ${object}: ${cause}`),
    ),
    `Result: ${report.severity}\n`,
  ].join('');
}

export const doctorCommand: Command = {
  paths: ['doctor'],
  summary:
    'Look for what is wrong: kernel features, conditions, other firewalls, leaks (exit code 1 if anything is)',
  usage: '[OPTIONS]',
  arity: noArguments,
  flags: [flag('-f, --format', 'string', "'json' prints the report as JSON; the default is text")],
  examples: [['What somebody else has changed', "doctor --format json | jq '.repairs.recent[].cause'"]],
  run: async ({ client, flags, io }) => {
    const format = flags.text('format');
    if (format !== '' && format !== 'json')
      throw new CliError(`${programName}: doctor prints text or 'json', not '${format}'`);
    const text = await client.text('GET', '/linkspan/v1/doctor');
    const report = parseJson(text) as DoctorReport;
    io.out(format === 'json' ? `${text.trim()}\n` : formatDoctor(report));
    if (report.severity !== 'ok') throw silentExit(1);
  },
};

export const firewallCommands: readonly Command[] = [
  {
    paths: ['firewall dump'],
    summary: 'Print the nftables table of Linkspan',
    usage: '',
    arity: noArguments,
    flags: [],
    examples: [['Which addresses are masqueraded', 'firewall dump | grep -A3 masq4']],
    run: async ({ client, io }) => io.out(await client.text('GET', '/linkspan/v1/firewall')),
  },
  {
    paths: ['firewall release'],
    summary: 'Give the table up to nft (refused: anybody may change it as it is)',
    usage: '',
    arity: noArguments,
    flags: [],
    examples: [],
    run: () =>
      Promise.reject(
        new CliError(
          `${programName}: there is nothing to release: the table has no owner flag, so nft may change it, and what it changes is repaired`,
        ),
      ),
  },
];
