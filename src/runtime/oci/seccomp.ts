/*
 * Seccomp profiles in Docker's format, and their expansion into the OCI runtime spec's `linux.seccomp`: a rule may
 * apply only with some capabilities, on some architectures or from some kernel on; the OCI form has no conditions.
 * Contract: Docker's seccomp profile format (docs.docker.com/engine/security/seccomp), OCI runtime spec 1.0.2. Pure.
 */
import { LinkspanError } from '../../errors/linkspanError.ts';

type SeccompAction = `SCMP_ACT_${string}`;

export interface SeccompArg {
  readonly index: number;
  readonly value: number;
  readonly valueTwo?: number;
  readonly op: `SCMP_CMP_${string}`;
}

/** A condition: every field given must hold to include, and any field that holds excludes. */
interface SeccompCondition {
  readonly caps?: readonly string[] | null;
  readonly arches?: readonly string[] | null;
  /** `4.8`: the running kernel is at least this. */
  readonly minKernel?: string | null;
}

export interface SeccompRule {
  readonly names?: readonly string[] | null;
  readonly name?: string;
  readonly action: SeccompAction;
  readonly errnoRet?: number | null;
  readonly args?: readonly SeccompArg[] | null;
  readonly includes?: SeccompCondition | null;
  readonly excludes?: SeccompCondition | null;
}

export interface SeccompProfile {
  readonly defaultAction: SeccompAction;
  readonly defaultErrnoRet?: number | null;
  readonly architectures?: readonly string[] | null;
  readonly archMap?:
    | readonly { readonly architecture: string; readonly subArchitectures?: readonly string[] | null }[]
    | null;
  readonly syscalls: readonly SeccompRule[];
}

/** What the conditions are tested against. */
export interface SeccompHost {
  /** Go's name: `amd64`, `arm64`. */
  readonly architecture: string;
  /** `uname -r`: `6.12.9-amd64`. */
  readonly kernelRelease: string;
  readonly capabilities: readonly string[];
}

/** libseccomp's name for a native architecture. */
const architectureNames: Readonly<Record<string, string>> = {
  amd64: 'SCMP_ARCH_X86_64',
  arm64: 'SCMP_ARCH_AARCH64',
  arm: 'SCMP_ARCH_ARM',
  '386': 'SCMP_ARCH_X86',
  ppc64le: 'SCMP_ARCH_PPC64LE',
  riscv64: 'SCMP_ARCH_RISCV64',
  s390x: 'SCMP_ARCH_S390X',
};

function isKernelAtLeast(release: string, wanted: string): boolean {
  const [major = 0, minor = 0] = release.split('.').map((part) => Number.parseInt(part, 10));
  const [wantedMajor = 0, wantedMinor = 0] = wanted.split('.').map((part) => Number.parseInt(part, 10));
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
}

function isIncluded(condition: SeccompCondition | null | undefined, host: SeccompHost): boolean {
  const { caps, arches, minKernel } = condition ?? {};
  if (arches != null && arches.length > 0 && !arches.includes(host.architecture)) return false;
  if (caps != null && !caps.every((cap) => host.capabilities.includes(cap))) return false;
  return minKernel == null || minKernel === '' || isKernelAtLeast(host.kernelRelease, minKernel);
}

function isExcluded(condition: SeccompCondition | null | undefined, host: SeccompHost): boolean {
  const { caps, arches, minKernel } = condition ?? {};
  if (arches?.includes(host.architecture) === true) return true;
  if (caps?.some((cap) => host.capabilities.includes(cap)) === true) return true;
  return minKernel != null && minKernel !== '' && isKernelAtLeast(host.kernelRelease, minKernel);
}

function architecturesOf(profile: SeccompProfile, architecture: string): readonly string[] {
  if (profile.architectures != null && profile.architectures.length > 0) return profile.architectures;
  const native = architectureNames[architecture];
  const entry = profile.archMap?.find((candidate) => candidate.architecture === native);
  return entry === undefined ? [] : [entry.architecture, ...(entry.subArchitectures ?? [])];
}

function expandRule(rule: SeccompRule): Readonly<Record<string, unknown>> {
  return {
    names: rule.names ?? (rule.name === undefined ? [] : [rule.name]),
    action: rule.action,
    ...(rule.errnoRet == null ? {} : { errnoRet: rule.errnoRet }),
    ...(rule.args == null || rule.args.length === 0 ? {} : { args: rule.args }),
  };
}

/** The OCI spec's `linux.seccomp` for this host and these capabilities. */
export function expandSeccomp(profile: SeccompProfile, host: SeccompHost): Readonly<Record<string, unknown>> {
  const architectures = architecturesOf(profile, host.architecture);
  return {
    defaultAction: profile.defaultAction,
    ...(profile.defaultErrnoRet == null ? {} : { defaultErrnoRet: profile.defaultErrnoRet }),
    ...(architectures.length === 0 ? {} : { architectures }),
    syscalls: profile.syscalls
      .filter((rule) => isIncluded(rule.includes, host) && !isExcluded(rule.excludes, host))
      .map(expandRule),
  };
}

/** Parses a profile that a user gave as text. Throws containerConfigInvalid if it is not one. */
export function parseSeccompProfile(text: string): SeccompProfile {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && 'defaultAction' in value) {
      const rules: unknown = 'syscalls' in value ? value.syscalls : [];
      if (rules == null || Array.isArray(rules)) {
        return { ...value, syscalls: rules ?? [] } as SeccompProfile;
      }
    }
  } catch (cause) {
    throw new LinkspanError(
      'containerConfigInvalid',
      `Decoding seccomp profile failed: ${cause instanceof Error ? cause.message : String(cause)}`,
      { cause },
    );
  }
  throw new LinkspanError('containerConfigInvalid', 'Decoding seccomp profile failed: not a profile');
}
