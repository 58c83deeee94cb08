/*
 * `network create`.
 */
import { type Command, oneArgument } from '../command.ts';
import { type Flags, flag } from '../flags.ts';
import { joinIpamFlags } from './ipamFlags.ts';

/** The body of POST /networks/create, in the order of fields that the docker CLI sends. */
export function networkCreateBody(name: string, flags: Flags): Record<string, unknown> {
  const config = joinIpamFlags({
    subnets: flags.list('subnet'),
    ranges: flags.list('ip-range'),
    gateways: flags.list('gateway'),
    auxAddresses: flags.map('aux-address'),
  });
  const from = flags.text('config-from');
  return {
    Driver: flags.text('driver'),
    Scope: flags.text('scope'),
    ...(flags.has('ipv4') ? { EnableIPv4: flags.bool('ipv4') } : {}),
    ...(flags.has('ipv6') ? { EnableIPv6: flags.bool('ipv6') } : {}),
    IPAM: { Driver: flags.text('ipam-driver'), Options: flags.map('ipam-opt'), Config: config },
    Internal: flags.bool('internal'),
    Attachable: flags.bool('attachable'),
    Ingress: flags.bool('ingress'),
    ConfigOnly: flags.bool('config-only'),
    ConfigFrom: from === '' ? null : { Network: from },
    Options: flags.map('opt'),
    Labels: flags.map('label'),
    Name: name,
  };
}

export const networkCreateCommand: Command = {
  paths: ['network create'],
  summary: 'Create a network',
  usage: '[OPTIONS] NETWORK',
  arity: oneArgument,
  flags: [
    flag('-d, --driver', 'string', 'Driver to manage the Network', 'bridge'),
    flag('-o, --opt', 'map', 'Set driver specific options'),
    flag('--label', 'list', 'Set metadata on a network'),
    flag('--internal', 'bool', 'Restrict external access to the network'),
    flag('--ipv4', 'bool', 'Enable or disable IPv4 address assignment', 'true'),
    flag('--ipv6', 'bool', 'Enable or disable IPv6 address assignment'),
    flag('--attachable', 'bool', 'Enable manual container attachment'),
    flag('--ingress', 'bool', 'Create swarm routing-mesh network'),
    flag('--scope', 'string', "Control the network's scope"),
    flag('--config-only', 'bool', 'Create a configuration only network'),
    flag('--config-from', 'string', 'The network from which to copy the configuration'),
    flag('--ipam-driver', 'string', 'IP Address Management Driver', 'default'),
    flag('--subnet', 'strings', 'Subnet in CIDR format that represents a network segment'),
    flag('--ip-range', 'strings', 'Allocate container ip from a sub-range'),
    flag('--gateway', 'strings', 'IPv4 or IPv6 Gateway for the master subnet'),
    flag('--aux-address', 'map', 'Auxiliary IPv4 or IPv6 addresses used by Network driver'),
    flag('--ipam-opt', 'map', 'Set IPAM driver specific options'),
  ],
  examples: [
    ['A network with a free subnet', 'network create mynet'],
    ['With addresses of your choice', 'network create --subnet 10.77.0.0/24 --ip-range 10.77.0.128/25 lab'],
    ['Without a way to the outside', 'network create --internal backend'],
  ],
  run: async ({ flags, args, client, io }) => {
    const name = args[0] ?? '';
    const created = await client.json<{ Id: string; Warning?: string }>('POST', '/networks/create', {
      json: networkCreateBody(name, flags),
    });
    if (created.Warning) io.err(`WARNING: ${created.Warning}\n`);
    io.out(`${created.Id}\n`);
  },
};
