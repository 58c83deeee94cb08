import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ensureAcceptRule } from './nftRule.ts';

const chain = { family: 'ip', table: 'filter', chain: 'ufw-user-forward' } as const;

interface Rule {
  readonly handle: number;
  readonly expr: readonly object[];
  readonly comment?: string;
}

/** Answers each `list chain` with the next of `listings`, and keeps the other commands. */
function fakeKernel(listings: (readonly Rule[])[]): {
  readonly commands: string[];
  readonly nft: (command: string) => Promise<string>;
} {
  const commands: string[] = [];
  return {
    commands,
    nft: (command) => {
      if (!command.startsWith('list chain ')) {
        commands.push(command);
        return Promise.resolve('');
      }
      const rules = listings.shift() ?? [];
      const rows = rules.map((rule) => ({ rule: { ...chain, ...rule } }));
      return Promise.resolve(JSON.stringify({ nftables: rows }));
    },
  };
}

const ofUfw: Rule = { handle: 9, expr: [{ accept: null }] };

test('a reload between adding and reading back: the owner’s new rules stay, and nothing is wrong', async () => {
  const kernel = fakeKernel([[], [ofUfw]]);
  assert.equal(await ensureAcceptRule(kernel, chain), false);
  assert.equal(kernel.commands.length, 1);
  assert.match(kernel.commands[0] ?? '', /^add rule ip filter ufw-user-forward /);
});

test('a rule of ours that reads back in another form goes again, and that is said', async () => {
  const strange: Rule = { handle: 12, expr: [{ accept: null }], comment: 'linkspan' };
  const kernel = fakeKernel([[ofUfw], [ofUfw, strange]]);
  await assert.rejects(ensureAcceptRule(kernel, chain), /does not read back/);
  assert.deepEqual(kernel.commands.slice(1), ['delete rule ip filter ufw-user-forward handle 12']);
});
