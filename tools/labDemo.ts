/*
 * The demo's second part: three hosts on this machine, a swarm, who reaches whom, and a line that breaks. Runs in a lane
 * (scripts/lane), with linkspan on PATH. Each command is shown as typed, above its real output.
 */
import { execSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { bold, heading, say, type } from './demoVoice.ts';

const patienceMs = 60_000;

function makeLab(): void {
  heading('Three hosts of namespaces, a daemon each, and a swarm');
  type(`linkspan lab up --hosts 3 --cgroup-parent "$LINKSPAN_LANE_CGROUP"`);
  type('linkspan lab ls');
  type('linkspan lab docker host1 node ls');
}

function showOverlay(): void {
  heading('One network across the hosts: a name leads to its container, wherever that runs');
  type('linkspan lab docker host1 network create -d overlay mynet');
  type('linkspan lab docker host1 network ls --filter driver=overlay');
  type('linkspan lab docker host1 run -d --name my_container --network mynet busybox httpd -f -p 80 -h /etc');
  for (const host of ['host2', 'host3'])
    type(
      `linkspan lab docker ${host} run --rm --network mynet busybox wget -qO- http://my_container/hostname`,
    );
  heading('The container moves to host3; its name follows');
  type('linkspan lab docker host1 rm -f my_container');
  type('linkspan lab docker host3 run -d --name my_container --network mynet busybox httpd -f -p 80 -h /etc');
  type('linkspan lab docker host2 run --rm --network mynet busybox wget -qO- http://my_container/hostname');
  type('linkspan lab docker host3 rm -f my_container');
  type('linkspan lab docker host1 network rm mynet');
}

function showPublished(): void {
  heading('A container on one host, reached from another');
  type('linkspan lab docker host2 run -d --name web -p 80:80 busybox httpd -f -h /');
  type('linkspan lab exec host3 busybox wget -qO- http://host2/etc/hostname');
}

/** Asks until the manager says that of the host. */
async function waitForNode(host: string, status: string): Promise<void> {
  const command = `linkspan lab docker host1 node ls --format '{{.Hostname}} {{.Status}}'`;
  say(`  (waiting until ${host} is ${status})`);
  for (const endMs = performance.now() + patienceMs; performance.now() < endMs; await sleep(200))
    if (execSync(command, { encoding: 'utf8' }).split('\n').includes(`${host} ${status}`)) return;
  throw new Error(`${host} did not become ${status} within ${patienceMs / 1000} s`);
}

async function showPartition(): Promise<void> {
  heading('The line between two hosts breaks, and is mended');
  type('linkspan lab docker host1 swarm update --dispatcher-heartbeat 1s');
  type('linkspan lab partition host1 host3');
  type('linkspan lab exec host1 busybox ping -c 1 -W 1 host3', 'failure');
  await waitForNode('host3', 'Down');
  type('linkspan lab docker host1 node ls');
  type('linkspan lab heal');
  await waitForNode('host3', 'Ready');
  type('linkspan lab docker host1 node ls');
}

function cleanUp(): void {
  heading('Cleaning up');
  type('linkspan lab down');
  type('ip -brief link');
  say('\nNothing is left.');
}

try {
  say(bold('\nLinkspan on several hosts'));
  makeLab();
  showOverlay();
  showPublished();
  await showPartition();
  cleanUp();
} catch (error) {
  process.stderr.write(`\ndemo: ${error instanceof Error ? error.message : String(error)}\n`);
  for (const host of ['host1', 'host2', 'host3']) {
    try {
      const log = readFileSync(`/run/linkspan-lab/${host}/log`, 'utf8');
      process.stderr.write(`the log of ${host} ends with:\n${log.split('\n').slice(-8).join('\n')}\n`);
    } catch {
      // It has none yet, or no more.
    }
  }
  process.exitCode = 1;
}
