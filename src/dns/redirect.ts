/*
 * Inside a sandbox, questions to 127.0.0.11:53 reach the resolver on its own ports by a table of nftables. Binding :53
 * would take it from a server that the container runs on 0.0.0.0. The ports are rewritten packet by packet, not by NAT:
 * a container's traffic then costs no connection tracking, and no state of an old port outlives a new one.
 *
 * Both directions pass the output hook, since both ends are here. A tracker that the container has itself (priority
 * -200) sees the same ports both ways: questions are rewritten before it, answers after it.
 */
import type { ResolverPorts } from './protocol.ts';

export const resolverAddress = '127.0.0.11';
/** Its name tells that it is ours: a sandbox has no other table of that name. */
export const redirectTable = 'linkspan-dns';

/** nft commands that make the table as it should be; `isThere`: one is there, whose place it takes. */
export function planRedirect({ udp, tcp }: ResolverPorts, isThere: boolean): string {
  return [
    ...(isThere ? [`delete table ip ${redirectTable}`] : []),
    `table ip ${redirectTable} {`,
    '  chain questions {',
    '    type filter hook output priority -300;',
    `    ip daddr ${resolverAddress} udp dport 53 udp dport set ${udp}`,
    `    ip daddr ${resolverAddress} tcp dport 53 tcp dport set ${tcp}`,
    '  }',
    '  chain answers {',
    '    type filter hook output priority -150;',
    `    ip saddr ${resolverAddress} udp sport ${udp} udp sport set 53`,
    `    ip saddr ${resolverAddress} tcp sport ${tcp} tcp sport set 53`,
    '  }',
    '}',
  ].join('\n');
}

/** The ports that a listing of the table names; undefined if it is not ours as `planRedirect` makes it. */
export function readRedirect(listing: string): ResolverPorts | undefined {
  const port = (transport: string): number => {
    const asked = new RegExp(`daddr \\S+ ${transport} dport 53 ${transport} dport set (\\d+)\\n`).exec(
      listing,
    )?.[1];
    return listing.includes(`${transport} sport ${asked} ${transport} sport set 53\n`) ? Number(asked) : 0;
  };
  const [udp, tcp] = [port('udp'), port('tcp')];
  const hooks = listing.match(/type filter hook output/g)?.length;
  return udp > 0 && tcp > 0 && hooks === 2 ? { udp, tcp } : undefined;
}

/** The nft command whose output `readRedirect` reads. */
export const listRedirect: string = `list table ip ${redirectTable}`;
