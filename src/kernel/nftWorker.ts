/*
 * The nft worker's thread: runs nft commands through libnftables, here and in sandboxes. Started by openKernel.
 * A thread of its own, with a table of descriptors of its own: libnftables waits by select(2), which ends the whole
 * process when its socket has number 1024 or more, and the daemon has several descriptors for each container and one
 * for each published port. Parsing, some milliseconds, holds up no other verb either. Contract: unshare(2).
 */
import { probeFeatures } from './features.ts';
import { check, linux, loadLibc } from './libc.ts';
import { openNft } from './libnftables.ts';
import { inNamespace, openHome } from './namespaces.ts';
import { newSocketContext } from './netlinkSocket.ts';
import type { Call, NftVerb, Operations } from './protocol.ts';
import { enterThread, serveVerb } from './serveVerbs.ts';

function start(): void {
  const { port, post, seam } = enterThread();
  const libc = loadLibc();
  // From here on nothing may be left to libuv's pool: its threads have the process's table.
  check(libc, 'unshare files', libc.unshare(linux.CLONE_FILES));
  const home = openHome();
  const context = { libc, seam, home, sockets: newSocketContext(libc, seam) };
  const runNft = openNft();
  const operations: Operations<NftVerb> = {
    nft: (commands, options = {}) =>
      inNamespace(context, options.namespace, () => {
        seam.step('kernel nft');
        return runNft(commands, options.isJson === true);
      }),
    probeFeatures: () => probeFeatures(context, runNft),
  };
  port.on('message', (call: Call<NftVerb> | 'close') => {
    if (call !== 'close') return serveVerb(operations, call, post);
    port.close();
    home[Symbol.dispose]();
  });
  post({ type: 'ready' });
}

start();
