import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeJournalField, JournalExport, journalFieldName } from './journalFormat.ts';

test('a field with a newline in it has its length in front', () => {
  assert.equal(encodeJournalField('MESSAGE', 'a=b').toString(), 'MESSAGE=a=b\n');
  assert.deepEqual(
    encodeJournalField('MESSAGE', 'a\nb'),
    Buffer.from('MESSAGE\n\x03\0\0\0\0\0\0\0a\nb\n', 'latin1'),
  );
});

test('labels and variables become names that the journal takes', () => {
  assert.equal(journalFieldName('com.example/a-B'), 'COM_EXAMPLE_A_B');
  assert.equal(journalFieldName('_.x'), 'X');
});

test('entries come out whole, wherever the blocks end', () => {
  const fields = [
    [
      ['__CURSOR', Buffer.from('s=1;i=2')],
      ['MESSAGE', Buffer.from('line\n\nwith = and \n')],
    ],
    [['MESSAGE', Buffer.alloc(0)]],
    [
      ['MESSAGE', Buffer.from([0xff, 0x0a, 0])],
      ['PRIORITY', Buffer.from('3')],
    ],
  ] as const;
  const whole = Buffer.concat(
    fields.flatMap((entry) => [
      ...entry.map(([name, value]) => encodeJournalField(name, value)),
      Buffer.from('\n'),
    ]),
  );
  for (let blockBytes = 1; blockBytes <= whole.length; blockBytes += 1) {
    const decoder = new JournalExport();
    const entries = Array.from({ length: Math.ceil(whole.length / blockBytes) }, (_, i) =>
      decoder.feed(whole.subarray(i * blockBytes, (i + 1) * blockBytes)),
    ).flat();
    assert.deepEqual(
      entries.map((entry) => [...entry]),
      fields.map((entry) => entry.map(([name, value]) => [name, value])),
      `in blocks of ${blockBytes}`,
    );
  }
});
