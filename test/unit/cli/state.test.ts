// Records as people and programs get them.
import t from 'tap';
import { formatRecords } from '../../../agent/cli/state.ts';

const records = { pods: { 'uid-1': { since: 5 }, 'uid-2': { note: 'x'.repeat(300) } }, journal: {} };

t.test('the table has a line per record and cuts long values', async (t) => {
  const lines = formatRecords(records, 'table').trimEnd().split('\n');
  t.equal(lines.length, 3);
  t.match(lines[1], /^pods {3}uid-1 {2}\{"since":5\}$/);
  t.match(lines[2], /x…$/);
  t.ok((lines[2] ?? '').length < 130);
  t.equal(formatRecords({}, 'table'), 'the state is empty\n');
});

t.test('programs get everything', async (t) => {
  t.strictSame(JSON.parse(formatRecords(records, 'json')), records);
});
