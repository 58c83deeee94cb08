/*
 * Keeps the DNS worker's index of names as the network table is: everything once, then each change of an endpoint's
 * record. Only attached endpoints have names, and only on user-defined networks.
 */
import type { NamedEndpoint } from '../../dns/names.ts';
import type { Dns } from '../../dns/openDns.ts';
import type { Endpoint } from '../model.ts';
import type { NetworkTable } from '../networks/networkTable.ts';

type Table = Pick<NetworkTable, 'endpoints' | 'events' | 'find'>;

function withoutLength(address: string): string {
  return address.slice(0, address.indexOf('/'));
}

function isNamed(endpoint: Endpoint | undefined): endpoint is Endpoint {
  return endpoint?.state === 'attached' && endpoint.dnsNames.length > 0;
}

function toNamed(table: Table, endpoint: Endpoint): readonly NamedEndpoint[] {
  const network = table.find(endpoint.networkId);
  if (network === undefined) return [];
  return [
    {
      id: endpoint.id,
      network: network.id,
      networkName: network.name,
      names: endpoint.dnsNames,
      addresses: [endpoint.ipv4, endpoint.ipv6].flatMap((text) =>
        text === undefined ? [] : withoutLength(text),
      ),
    },
  ];
}

/** Feeds `dns` until disposed; everything again where it lost everything. */
export function feedNames(table: Table, dns: Pick<Dns, 'events' | 'put' | 'del'>): Disposable {
  const putAll = (): void =>
    dns.put(table.endpoints.filter(isNamed).flatMap((endpoint) => toNamed(table, endpoint)));
  putAll();
  const listeners = new DisposableStack();
  listeners.use(dns.events.on('lost', putAll));
  listeners.use(
    table.events.on('endpoint', ({ before, after }) => {
      if (isNamed(after)) dns.put(toNamed(table, after));
      else if (before !== undefined && before.dnsNames.length > 0) dns.del(before.id);
    }),
  );
  return listeners;
}
