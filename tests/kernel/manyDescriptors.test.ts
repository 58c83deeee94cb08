/*
 * A process with more than a thousand open descriptors, as a daemon with a few hundred containers or a thousand
 * published ports is: libnftables waits by select(2), which knows none beyond 1023, and glibc ends the process there.
 */
import assert from 'node:assert/strict';
import { closeSync, openSync } from 'node:fs';
import { test } from 'node:test';
import { silentLogger } from '../../src/base/logger.ts';
import { openSeam } from '../../src/base/seam.ts';
import { openKernel } from '../../src/kernel/openKernel.ts';

test('nft runs here and in a sandbox, whatever else is open', async () => {
  await using kernel = await openKernel({ seam: openSeam(), logger: silentLogger });
  await kernel.createNamespace('/run/netns/many');
  const others = Array.from({ length: 1500 }, () => openSync('/dev/null', 'r'));
  try {
    assert.ok((others.at(-1) ?? 0) > 1024);
    for (const namespace of [undefined, '/run/netns/many'])
      for (let round = 0; round < 10; round += 1) {
        await kernel.nft(`table inet many${round} { set s { type ifname; }; }`, { namespace });
        assert.match(await kernel.nft('list tables', { namespace }), new RegExp(`inet many${round}\\b`));
      }
  } finally {
    for (const fd of others) closeSync(fd);
  }
  await kernel.nft('flush ruleset');
  await kernel.removeNamespace('/run/netns/many');
});
