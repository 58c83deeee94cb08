/*
 * `doctor`: looks at everything that could be wrong and says so in one report. Changes nothing.
 */
import type { Condition } from '../../base/condition.ts';
import type { Repair, RepairLog } from '../../base/repairLog.ts';
import type { Kernel, KernelFeature } from '../../kernel/kernel.ts';
import type { Leak } from './leaks.ts';

export type DoctorSeverity = 'ok' | 'warning' | 'error';

export interface DoctorReport {
  /** The worst of all that follows. */
  readonly severity: DoctorSeverity;
  readonly kernel: readonly (KernelFeature & { readonly isRequired: boolean })[];
  readonly cgroupVersion: 1 | 2;
  /** Lasting problems but for those with other firewalls. */
  readonly conditions: readonly Condition[];
  /** Conditions about other firewalls: a chain that drops our packets is named. */
  readonly conflicts: readonly Condition[];
  readonly leaks: readonly Leak[];
  readonly repairs: {
    /** Since the daemon's start, by kind. */
    readonly counts: RepairLog['counts'];
    /** The last ones, oldest first. */
    readonly recent: readonly Repair[];
  };
}

export interface DoctorSources {
  readonly kernel: Pick<Kernel, 'probeFeatures'>;
  readonly cgroupVersion: 1 | 2;
  readonly conditions: () => readonly Condition[];
  readonly repairs: Pick<RepairLog, 'counts' | 'recent'>;
  readonly findLeaks: () => Promise<readonly Leak[]>;
}

/** Without these no bridge network works; the others serve a driver or an option each. */
const required: ReadonlySet<string> = new Set(['bridge', 'veth', 'nf_tables inet nat', 'conntrack']);

function severityOf(report: Omit<DoctorReport, 'severity'>): DoctorSeverity {
  const standing = [...report.conditions, ...report.conflicts];
  const lacks = report.kernel.some(({ isPresent, isRequired }) => isRequired && !isPresent);
  if (lacks || standing.some(({ severity }) => severity === 'error')) return 'error';
  return standing.length > 0 || report.leaks.length > 0 ? 'warning' : 'ok';
}

export async function examine(sources: DoctorSources): Promise<DoctorReport> {
  const [features, leaks] = await Promise.all([sources.kernel.probeFeatures(), sources.findLeaks()]);
  const standing = sources.conditions();
  const isConflict = ({ id }: Condition): boolean => id.startsWith('firewall.foreign');
  const report = {
    kernel: features.map((feature) => ({ ...feature, isRequired: required.has(feature.name) })),
    cgroupVersion: sources.cgroupVersion,
    conditions: standing.filter((one) => !isConflict(one)),
    conflicts: standing.filter(isConflict),
    leaks,
    repairs: { counts: sources.repairs.counts, recent: sources.repairs.recent },
  };
  return { severity: severityOf(report), ...report };
}
