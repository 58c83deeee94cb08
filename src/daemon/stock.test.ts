import assert from 'node:assert/strict';
import { test } from 'node:test';
import { latencyBoundsMs } from '../dns/latencies.ts';
import type { Container, Endpoint } from '../engine/model.ts';
import { takeStock } from './stock.ts';

const latencies = { own: { counts: [], sumMs: 0 }, forwarded: { counts: [], sumMs: 0 } };
const empty = {
  networks: [],
  endpoints: [],
  containers: [],
  conditions: [],
  bindings: [],
  dns: { own: 3, forwarded: 2, dropped: 1, sandboxes: 9, latencies },
  repairs: { counts: {} },
};

test('a series that may appear is there from the start, and only known labels are', () => {
  assert.deepEqual(takeStock(empty), {
    networksByDriver: {},
    endpointsByState: { attached: 0, reserved: 0 },
    leasesByFamily: { 4: 0, 6: 0 },
    containersByState: { created: 0, running: 0, exited: 0, restarting: 0 },
    portsByProtocol: { tcp: 0, udp: 0, sctp: 0 },
    conditionsBySeverity: { warning: 0, error: 0 },
    repairsByKind: { firewall: 0, forwarding: 0, bridge: 0, endpoint: 0, resolver: 0 },
    dnsByResult: { own: 3, forwarded: 2, dropped: 1 },
    dnsLatencies: { boundsMs: latencyBoundsMs, series: latencies },
  });
});

test('addresses are counted by family, ports of a range one by one', () => {
  const endpoints = [
    { state: 'attached', ipv4: '10.0.0.2/8', ipv6: 'fd00::2/64' },
    { state: 'reserved', ipv4: '10.0.0.3/8' },
  ] as unknown as readonly Endpoint[];
  const containers = [{ state: 'paused' }] as unknown as readonly Container[];
  const bindings = [{ proto: 'udp', count: 10 }] as const;
  const stock = takeStock({ ...empty, endpoints, containers, bindings });
  assert.deepEqual(stock.leasesByFamily, { 4: 2, 6: 1 });
  assert.equal(stock.containersByState['paused'], 1);
  assert.equal(stock.portsByProtocol['udp'], 10);
});

test('without the DNS worker its figures are absent, not zero', () => {
  const { dnsByResult, dnsLatencies } = takeStock({ ...empty, dns: undefined });
  assert.deepEqual([dnsByResult, dnsLatencies.series], [{}, {}]);
});
