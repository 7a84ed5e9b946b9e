// Which copy is used: every combination of a database and a snapshot.
import t from 'tap';
import type { DatabaseContent } from '../../../agent/state/lmdb-file.ts';
import { planRecovery } from '../../../agent/state/plan-recovery.ts';
import type { SnapshotResult } from '../../../agent/state/snapshot.ts';

const NOW = 10_000;
const fromDatabase = { table: 'pods', key: 'd', json: '1' };
const fromSnapshot = { table: 'pods', key: 's', json: '1' };
const intact = (sequence: number): DatabaseContent => ({ kind: 'intact', records: [fromDatabase], sequence });
const damaged: DatabaseContent = { kind: 'damaged', reason: 'SIGBUS' };
const absent = { kind: 'absent' } as const;
const snapshot = (sequence: number): SnapshotResult => ({
  kind: 'read',
  snapshot: { records: [fromSnapshot], sequence, writtenAt: 4000, lost: 2 },
});
const badSnapshot: SnapshotResult = { kind: 'damaged', reason: 'no header' };

t.test('an intact database is used, unless its snapshot is newer', async (t) => {
  for (const other of [absent, badSnapshot, snapshot(5), snapshot(4)]) {
    t.strictSame(planRecovery(intact(5), other, NOW), { records: [fromDatabase], sequence: 5, rewrite: false });
  }
  t.match(planRecovery(intact(5), snapshot(6), NOW), {
    records: [fromSnapshot],
    sequence: 6,
    rewrite: true,
    recovery: { recovered: 'snapshot', reason: /older than its snapshot/, snapshotAgeMs: 6000, lostRecords: 2 },
  });
});

t.test('without a database the snapshot is used', async (t) => {
  t.match(planRecovery(damaged, snapshot(3), NOW), {
    records: [fromSnapshot],
    sequence: 3,
    rewrite: true,
    recovery: { recovered: 'snapshot', reason: /SIGBUS/ },
  });
  t.match(planRecovery(absent, snapshot(3), NOW), { recovery: { recovered: 'snapshot', reason: /missing/ } });
  t.equal(planRecovery(damaged, snapshot(3), 0).recovery?.snapshotAgeMs, 0, 'a clock that went back');
});

t.test('without either it is empty, which is no loss only when there was nothing', async (t) => {
  t.strictSame(planRecovery(absent, absent, NOW), { records: [], sequence: 1, rewrite: true });
  for (const [database, other] of [
    [damaged, absent],
    [damaged, badSnapshot],
    [absent, badSnapshot],
  ] as const) {
    t.match(planRecovery(database, other, NOW), { records: [], recovery: { recovered: 'empty' } });
  }
});
