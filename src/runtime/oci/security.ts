/*
 * `--security-opt` values (Docker Engine 28): seccomp, apparmor, no-new-privileges, systempaths; label only where it asks
 * for what is so anyway, since SELinux labels are not applied. Pure.
 */
import { LinkspanError } from '../../errors/linkspanError.ts';
import { parseSeccompProfile, type SeccompProfile } from './seccomp.ts';
import { defaultSeccompProfile } from './seccompDefault.ts';

/** Paths of /proc and /sys are neither hidden nor kept from writing. */
export const systemPathsOpen = 'systempaths=unconfined';

/** The name of no AppArmor profile. */
export const unconfined = 'unconfined';

export interface SecurityOptions {
  /** undefined = unconfined. */
  readonly seccomp: SeccompProfile | undefined;
  /** Name of a loaded profile, or `unconfined`; undefined = the default one. */
  readonly appArmor: string | undefined;
  readonly noNewPrivileges: boolean;
  /** False: /proc and /sys paths are neither masked nor read-only. */
  readonly protectsSystemPaths: boolean;
}

function parseBoolean(option: string, value: string): boolean {
  if (/^(1|t|true)$/i.test(value)) return true;
  if (/^(0|f|false)$/i.test(value)) return false;
  throw invalid(option);
}

function invalid(option: string): LinkspanError {
  return new LinkspanError('containerConfigInvalid', `invalid --security-opt 2: ${JSON.stringify(option)}`);
}

function unsupported(option: string): LinkspanError {
  return new LinkspanError('notImplemented', `security option ${JSON.stringify(option)} is not implemented`);
}

function applyOption(current: SecurityOptions, option: string): SecurityOptions {
  const match = /^([a-z-]+)(?:[=:]([^]*))?$/.exec(option);
  const [, name = '', value] = match ?? [];
  switch (name) {
    case 'no-new-privileges':
      return { ...current, noNewPrivileges: value === undefined || parseBoolean(option, value) };
    case 'seccomp':
      if (value === undefined) throw invalid(option);
      if (value === 'unconfined') return { ...current, seccomp: undefined };
      if (value === 'builtin') return { ...current, seccomp: defaultSeccompProfile };
      return { ...current, seccomp: parseSeccompProfile(value) };
    case 'systempaths':
      if (value !== 'unconfined') throw invalid(option);
      return { ...current, protectsSystemPaths: false };
    case 'apparmor':
      if (value === undefined || value === '') throw invalid(option);
      return { ...current, appArmor: value };
    case 'label':
      if (value !== 'disable') throw unsupported(option);
      return current;
    default:
      throw invalid(option);
  }
}

/** Reads the options in order, the last of a kind wins; `isPrivileged` starts from no confinement at all. */
export function parseSecurityOptions(options: readonly string[], isPrivileged: boolean): SecurityOptions {
  return options.reduce<SecurityOptions>(applyOption, {
    seccomp: isPrivileged ? undefined : defaultSeccompProfile,
    appArmor: isPrivileged ? unconfined : undefined,
    noNewPrivileges: false,
    protectsSystemPaths: !isPrivileged,
  });
}
