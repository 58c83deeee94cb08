import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  drawTopology,
  ipCommands,
  iptablesCommands,
  nftCommands,
  parseNftElements,
  type Topology,
} from './topology.ts';

const listing = `table inet linkspan {
	set bridges {
		type ifname
		elements = { "br-1",
			     "br-2" }
	}
	set empty {
		type ipv4_addr
	}
	map masquerade {
		type ipv4_addr : verdict
		flags interval
		elements = { 10.0.0.0/16 : jump x }
	}
	chain forward {
		iifname @bridges accept
	}
}`;

const attachment = {
  hostLink: 'veth1',
  link: 'eth0',
  mac: '02:00:00:00:00:01',
  published: [{ hostPort: '8080', port: '80', proto: 'tcp' }],
};
const topology: Topology = {
  hostAddress: '192.0.2.11/24',
  outsideAddress: '192.0.2.13/24',
  networks: [
    {
      name: 'front',
      bridge: 'br-1',
      subnet: '10.0.0.0/16',
      gateway: '10.0.0.1/16',
      attachments: [{ ...attachment, container: 'web', address: '10.0.0.2/16' }],
    },
    { name: 'back', bridge: 'br-2', subnet: '10.1.0.0/16', gateway: '10.1.0.1/16', attachments: [] },
  ],
  nftElements: parseNftElements(listing),
};

test('parseNftElements finds the sets and maps that have elements', () => {
  assert.deepEqual(parseNftElements(listing), [
    { name: 'bridges', elements: ['"br-1"', '"br-2"'] },
    { name: 'masquerade', elements: ['10.0.0.0/16 : jump x'] },
  ]);
});

test('drawTopology draws a line for each network and container', () => {
  assert.deepEqual(drawTopology(topology).slice(3, 8), [
    '  host      192.0.2.11/24',
    '     │',
    '     ├── front   br-1   10.0.0.1/16',
    '     │     └── veth1 ════ eth0 10.0.0.2/16   web   8080 → 80/tcp',
    '     │',
  ]);
});

test('the commands name what the topology has', () => {
  assert.ok(ipCommands(topology).includes('ip -n web route add default via 10.0.0.1'));
  assert.ok(nftCommands(topology).includes(`nft add element inet linkspan bridges '{ "br-1" }'`));
  assert.ok(iptablesCommands(topology).includes('iptables -A FORWARD -i br-1 -o br-2 -j DROP'));
  assert.ok(
    iptablesCommands(topology).includes(
      'iptables -t nat -A PREROUTING -p tcp --dport 8080 -j DNAT --to-destination 10.0.0.2:80',
    ),
  );
});
