/* `--security-opt` as docker 28 sends it: a seccomp profile by its content, open system paths by empty lists of paths. */
import { readFileSync } from 'node:fs';
import { messageOf } from '../../../errors/linkspanError.ts';
import { CliError } from '../cliError.ts';

interface SecurityFields {
  readonly SecurityOpt: readonly string[] | null;
  readonly MaskedPaths: readonly string[] | null;
  readonly ReadonlyPaths: readonly string[] | null;
}

function seccompOption(path: string): string {
  const fail = (what: string, why: string): CliError =>
    new CliError(`${what} seccomp profile (${path}) failed: ${why}`, 125);
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const isMissing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    throw fail('opening', isMissing ? `open ${path}: no such file or directory` : messageOf(error));
  }
  try {
    return `seccomp=${JSON.stringify(JSON.parse(text))}`;
  } catch (error) {
    throw fail('compacting json for', messageOf(error));
  }
}

function optionOf(option: string): string {
  if (option === 'no-new-privileges') return option;
  const [, name = '', value = ''] = /^([^=:]*)[=:]([^]*)$/.exec(option) ?? [];
  if (value === '' && name !== 'no-new-privileges')
    throw new CliError(`invalid --security-opt: ${JSON.stringify(option)}`, 125);
  return name === 'seccomp' && value !== 'unconfined' && value !== 'builtin' ? seccompOption(value) : option;
}

/** Throws CliError with Docker's texts. */
export function securityFields(options: readonly string[]): SecurityFields {
  const sent = options.map(optionOf);
  const kept = sent.filter((option) => option !== 'systempaths=unconfined');
  const paths = kept.length < sent.length ? [] : null;
  return { SecurityOpt: kept.length === 0 ? null : kept, MaskedPaths: paths, ReadonlyPaths: paths };
}
