/*
 * The same rule where the kernel still runs legacy iptables, which nftables cannot list: through the iptables-legacy
 * programs, and only when the kernel says that the legacy filter table is in use, since listing it would load it.
 * Legacy tables raise no events: they are looked at with every full compare.
 */
import { acceptedMark } from '../skeleton.ts';
import { isExtensionChain } from './forwardDrop.ts';
import type { HostTools } from './hostTools.ts';

const hex = `0x${acceptedMark.toString(16)}`;
const rule: readonly string[] = [
  '-m',
  'mark',
  '--mark',
  `${hex}/${hex}`,
  '-m',
  'comment',
  '--comment',
  'linkspan',
  '-j',
  'ACCEPT',
];

export type LegacyFamily = 4 | 6;

const programOf = (family: LegacyFamily): string => (family === 4 ? 'iptables-legacy' : 'ip6tables-legacy');

/** The legacy filter table as `iptables-legacy -S` prints it. */
export interface LegacyFilter {
  readonly isDropping: boolean;
  readonly extensionChain: string | undefined;
  /** A rule that accepts our mark stands in FORWARD or in an extension chain. */
  readonly acceptsMark: boolean;
  /** Lines of each chain, in order. */
  readonly rules: ReadonlyMap<string, readonly string[]>;
}

/** Pure. */
export function readLegacyFilter(text: string): LegacyFilter {
  const lines = text.split('\n');
  const chains = lines.filter((line) => line.startsWith('-N ')).map((line) => line.slice(3));
  const rules = new Map(
    ['FORWARD', ...chains].map(
      (chain) => [chain, lines.filter((line) => line.startsWith(`-A ${chain} `))] as const,
    ),
  );
  const last = rules.get('FORWARD')?.at(-1) ?? '';
  const extensionChain = ['DOCKER-USER', 'ufw-user-forward', 'ufw6-user-forward', 'FORWARD_direct'].find(
    (name) => chains.includes(name),
  );
  return {
    isDropping: lines.includes('-P FORWARD DROP') || /^-A FORWARD -j (DROP|REJECT)/.test(last),
    extensionChain,
    acceptsMark: lines.some((line) => isOurs(line) && /^-A (\S+)/.exec(line)?.[1] !== undefined),
    rules,
  };
}

function isOurs(line: string): boolean {
  const chain = /^-A (\S+) /.exec(line)?.[1] ?? '';
  return (
    (chain === 'FORWARD' || isExtensionChain(chain)) &&
    line.includes(`--mark ${hex}/${hex} `) &&
    line.endsWith('-j ACCEPT')
  );
}

/** Undefined where the legacy filter table is not in use; `missing` where it is and the program to read it is not. */
export async function findLegacyFilter(
  tools: HostTools,
  family: LegacyFamily,
): Promise<LegacyFilter | 'missing' | undefined> {
  const names = await tools.readText(`/proc/net/${family === 4 ? 'ip' : 'ip6'}_tables_names`);
  if (names?.split('\n').includes('filter') !== true) return undefined;
  const text = await tools.run(programOf(family), ['-w', '5', '-S']);
  return text === undefined ? 'missing' : readLegacyFilter(text);
}

/** Adds the rule at the end of `chain`, before a closing RETURN. */
export async function addLegacyRule(
  tools: HostTools,
  family: LegacyFamily,
  filter: LegacyFilter,
  chain: string,
): Promise<void> {
  const rules = filter.rules.get(chain) ?? [];
  const place =
    rules.at(-1) === `-A ${chain} -j RETURN` ? ['-I', chain, String(rules.length)] : ['-A', chain];
  await tools.run(programOf(family), ['-w', '5', ...place, ...rule]);
}

/** Deletes the rule from every extension chain; success if it is not there. */
export async function removeLegacyRule(tools: HostTools, family: LegacyFamily): Promise<void> {
  const filter = await findLegacyFilter(tools, family);
  if (filter === undefined || filter === 'missing') return;
  for (const [chain, lines] of filter.rules) {
    if (!isExtensionChain(chain)) continue;
    for (const line of lines.filter(isOurs)) {
      await tools.run(programOf(family), ['-w', '5', '-D', ...line.split(' ').slice(1)]);
    }
  }
}
