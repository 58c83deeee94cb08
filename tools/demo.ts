/*
 * The demo's story: two networks, three containers, who reaches whom, the way outward, the picture, and the same in
 * ip, nft and iptables. Each command of linkspan is shown as typed, above its real output; a step that does not go as
 * it should ends the demo with an error. Runs in tools/playground, which removes everything afterwards.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { bold, heading, say, type } from './demoVoice.ts';
import { drawTopology, ipCommands, iptablesCommands, nftCommands, readTopology } from './topology.ts';

const outsideAddress = '192.0.2.13';
function addressOf(container: string): string {
  const format = '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}';
  return type(`linkspan inspect -f '${format}' ${container}`);
}

/** A web server in the outside namespace that tells each client the address it came from. */
async function withOutsideServer(work: () => void): Promise<void> {
  const source = `require('http').createServer((q, s) => s.end('you are ' + q.socket.remoteAddress + '\\n'))
    .listen(8000, '${outsideAddress}', () => console.log('ready'))`;
  const args = ['--net=/run/netns/outside', '--', process.execPath, '-e', source];
  const server = spawn('nsenter', args, { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    await once(server.stdout, 'data');
    work();
  } finally {
    server.kill();
    await once(server, 'exit');
  }
}

function makeNetworks(): void {
  heading('Networks');
  type('linkspan network ls');
  type('linkspan network create front');
  type('linkspan network create back');
  type('linkspan network ls --filter driver=bridge');
}

function startContainers(): void {
  heading('Containers, from an image made of this machine’s busybox');
  type('linkspan images');
  type('linkspan run -d --name web --network front -p 8080:80 busybox httpd -f -p 80 -h /');
  type('linkspan run -d --name app --network front busybox sleep 600');
  type('linkspan run -d --name db --network back busybox sleep 600');
  type('linkspan ps');
}

function showReachability(): void {
  const [web, db] = [addressOf('web'), addressOf('db')];
  heading('Containers of one network reach each other, by name and by address');
  type('linkspan exec app wget -qO- http://web/etc/hostname');
  type(`linkspan exec app ping -c 1 -W 1 ${web}`);
  heading('Containers of two networks do not');
  type(`linkspan exec app ping -c 1 -W 1 ${db}`, 'failure');
  say('  (isolated, as it should be)');
}

async function showOutside(): Promise<void> {
  heading('The way outward is masqueraded; from outside nothing unpublished is reached');
  await withOutsideServer(() => {
    const answer = type(`linkspan exec app wget -qO- http://${outsideAddress}:8000/`);
    if (answer !== 'you are 192.0.2.11') throw new Error(`the outside server saw: ${answer}`);
  });
  const web = addressOf('web');
  type(`nsenter --net=/run/netns/outside -- ip route replace 172.16.0.0/12 via 192.0.2.11`);
  type(`nsenter --net=/run/netns/outside -- busybox nc -w 1 ${web} 80`, 'failure');
}

function showPublished(): void {
  heading('A published port is reached from outside, with no process in between');
  type('linkspan port web');
  type('nsenter --net=/run/netns/outside -- busybox wget -qO- http://192.0.2.11:8080/etc/hostname');
}

function showLiveChange(): void {
  heading('A running container joins another network');
  type('linkspan network connect back app');
  type('linkspan exec app ping -c 1 -W 1 db');
  type('linkspan network disconnect back app');
}

function showTopology(): void {
  const topology = readTopology(['front', 'back'], `${outsideAddress}/24`);
  heading('What was made (read back from the kernel)');
  for (const line of drawTopology(topology)) say(line);
  for (const [title, commands] of [
    ['The same by hand: ip', ipCommands(topology)],
    ['nft (the table’s rules are constant; networks and endpoints are elements)', nftCommands(topology)],
    ['iptables, as tutorials do it (Linkspan does not)', iptablesCommands(topology)],
  ] as const) {
    heading(title);
    for (const command of commands) say(`  ${command}`);
  }
}

function cleanUp(): void {
  heading('Cleaning up');
  type('linkspan rm -f web app db');
  type('linkspan network rm front back');
  const left = spawnSync('ip', ['-o', 'link'], { encoding: 'utf8' }).stdout;
  if (/veth|br-/.test(left)) throw new Error(`links were left:\n${left}`);
  type('linkspan network ls');
  say('\nNothing is left. Try it yourself with: npm run shell');
}

try {
  say(bold('Linkspan: container networks, on a daemon in namespaces of its own'));
  makeNetworks();
  startContainers();
  showReachability();
  await showOutside();
  showPublished();
  showLiveChange();
  showTopology();
  cleanUp();
} catch (error) {
  process.stderr.write(`\ndemo: ${error instanceof Error ? error.message : String(error)}\n`);
  const log = readFileSync(`${process.env['LINKSPAN_PLAY'] ?? '/run/play'}/log`, 'utf8');
  process.stderr.write(`the daemon's log ends with:\n${log.split('\n').slice(-15).join('\n')}\n`);
  process.exitCode = 1;
}
