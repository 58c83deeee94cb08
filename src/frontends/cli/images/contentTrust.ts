/*
 * `--disable-content-trust` of the docker CLI: signatures of Docker Content Trust are not looked at here, which is what it
 * asks for. Its opposite is refused.
 */
import { CliError } from '../cliError.ts';
import { checkedBy, type FlagSpec, flag } from '../flags.ts';

/** `what` as the help has it: `verification` or `signing`. */
export function contentTrustFlag(what: 'verification' | 'signing'): FlagSpec {
  return checkedBy(flag('--disable-content-trust', 'bool', `Skip image ${what}`, 'true'), (value) => {
    if (!/^(1|t|true)$/i.test(value)) throw new CliError('content trust is not supported');
  });
}
