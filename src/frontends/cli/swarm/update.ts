/*
 * `swarm update` and `swarm ca`: changes of the swarm's specification.
 */
import { CliError } from '../cliError.ts';
import { type Command, type Invocation, noArguments } from '../command.ts';
import { checkedBy, flag } from '../flags.ts';
import { formatCommandHelp, helpColumns } from '../help.ts';
import type { ApiClient } from '../http/apiClient.ts';
import { readPem } from './fileValue.ts';
import { getUnlockKey, printUnlockCommand } from './joinCommandText.ts';
import { caFlags, mergeCaFlags, mergeSpecFlags, specFlags } from './specFlags.ts';
import { getSwarm, type SwarmAnswer, updateSwarm } from './swarmApi.ts';

function isAutolocked({ Spec }: Pick<SwarmAnswer, 'Spec'>): boolean {
  return Spec.EncryptionConfig?.AutoLockManagers ?? false;
}

export const swarmUpdateCommand: Command = {
  paths: ['swarm update'],
  summary: 'Update the swarm',
  usage: '[OPTIONS]',
  arity: noArguments,
  flags: [...specFlags, flag('--autolock', 'bool', 'Change manager autolocking setting (true|false)')],
  examples: [['Certificates of nodes that are renewed within a week', 'swarm update --cert-expiry 168h']],
  run: async ({ flags, client, io, path }) => {
    const { flags: known } = swarmUpdateCommand;
    if (!known.some(({ name }) => flags.has(name)))
      return io.out(formatCommandHelp(swarmUpdateCommand, path, helpColumns(io.size()?.columns)));
    const swarm = await getSwarm(client);
    const spec = mergeSpecFlags(swarm.Spec, flags, swarm.TLSInfo?.TrustRoot ?? '');
    await updateSwarm(client, swarm, spec);
    io.out('Swarm updated.\n');
    if (isAutolocked({ Spec: spec }) && !isAutolocked(swarm))
      printUnlockCommand(io, await getUnlockKey(client));
  },
};

function rootOf({ TLSInfo }: SwarmAnswer): string {
  const root = (TLSInfo?.TrustRoot ?? '').trim();
  if (root === '') throw new CliError('No CA information available');
  return `${root}\n`;
}

/** Why the flags do not go together, in Docker's words. */
function checkCaFlags({ flags }: Invocation): void {
  const names = ['ca-cert', 'ca-key', 'cert-expiry', 'external-ca'];
  const given = names.find((name) => flags.has(name));
  if (!flags.bool('rotate') && given !== undefined)
    throw new CliError(`\`--${given}\` flag requires the \`--rotate\` flag to update the CA`);
  if (flags.has('external-ca') && !flags.has('ca-cert'))
    throw new CliError(
      "rotating to an external CA requires the `--ca-cert` flag to specify the external CA's cert - to add an external CA with the current root CA certificate, use the `update` command instead",
    );
  if (flags.has('ca-cert') && !flags.has('external-ca') && !flags.has('ca-key'))
    throw new CliError(
      'the --ca-cert flag requires that a --ca-key flag and/or --external-ca flag be provided as well',
    );
}

/** How often it is asked whether every node has a certificate of the new root. */
const pollMs = 200;

async function waitForRotation(client: ApiClient): Promise<SwarmAnswer> {
  for (;;) {
    const swarm = await getSwarm(client);
    if (swarm.RootRotationInProgress !== true) return swarm;
    await new Promise<void>((resolve) => void setTimeout(resolve, pollMs));
  }
}

export const swarmCaCommand: Command = {
  paths: ['swarm ca'],
  summary: 'Display and rotate the root CA',
  usage: '[OPTIONS]',
  arity: noArguments,
  flags: [
    ...caFlags,
    checkedBy(
      flag(
        '--ca-cert',
        'pem-file',
        'Path to the PEM-formatted root CA certificate to use for the new cluster',
      ),
      readPem,
    ),
    checkedBy(
      flag('--ca-key', 'pem-file', 'Path to the PEM-formatted root CA key to use for the new cluster'),
      readPem,
    ),
    flag('-d, --detach', 'bool', 'Exit immediately instead of waiting for the root rotation to converge'),
    flag('-q, --quiet', 'bool', 'Suppress progress output'),
    flag(
      '--rotate',
      'bool',
      'Rotate the swarm CA - if no certificate or key are provided, new ones will be generated',
    ),
  ],
  examples: [
    ['The certificate that every node trusts', 'swarm ca'],
    ['A new one, on all nodes', 'swarm ca --rotate'],
  ],
  run: async (invocation) => {
    const { flags, client, io } = invocation;
    const swarm = await getSwarm(client);
    checkCaFlags(invocation);
    if (!flags.bool('rotate')) return io.out(rootOf(swarm));
    const [cert, key] = ['ca-cert', 'ca-key'].map((name) =>
      flags.has(name) ? readPem(flags.text(name)) : '',
    );
    const spec = mergeCaFlags(swarm.Spec, flags, cert ?? '');
    const CAConfig = {
      ...spec.CAConfig,
      ...(cert && { SigningCACert: cert }),
      ...(key && { SigningCAKey: key }),
      ...(!cert && !key && { ForceRotate: (spec.CAConfig?.ForceRotate ?? 0) + 1 }),
    };
    await updateSwarm(client, swarm, { ...spec, CAConfig });
    if (flags.bool('detach')) return;
    const rotated = await waitForRotation(client);
    if (!flags.bool('quiet')) io.out(rootOf(rotated));
  },
};
