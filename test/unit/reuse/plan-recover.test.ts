import t from 'tap';
import type { KeepEntry, MoveEntry } from '../../../agent/reuse/layer.ts';
import { type MoveFacts, recoverKeep, recoverMove } from '../../../agent/reuse/plan-recover.ts';
import { A, B, heldLayer, record } from './records.ts';

const MOVE: MoveEntry = {
  kind: 'move',
  from: { snapshot: heldLayer(A).snapshot, upperdir: '/a' },
  to: { snapshot: heldLayer(B).snapshot, upperdir: '/b' },
  facts: { device: '1', inode: '10', mode: 0o755, uid: 0, gid: 0 },
  after: record(),
};
const moved = { device: '1', inode: '10' };
const other = { device: '1', inode: '11' };

function outcome(more: Partial<MoveFacts>): string {
  return recoverMove(MOVE, { from: undefined, to: undefined, fromExists: true, toExists: true, ...more });
}

t.test('where the inode is decides', async (t) => {
  t.equal(outcome({ from: moved, to: other }), 'undo', 'journalled, not renamed');
  t.equal(outcome({ to: moved }), 'complete', 'renamed');
  t.equal(outcome({ from: other, to: moved }), 'complete', 'renamed and made again');
  t.equal(outcome({ from: moved, toExists: false }), 'undo', 'the new container is gone');
  t.equal(outcome({ to: moved, fromExists: false }), 'complete', 'the old container is gone');
  t.equal(outcome({ from: { device: '2', inode: '10' }, to: other }), 'undo', 'device numbers change with a reboot');
});

t.test('lost only when the runtime says so too', async (t) => {
  t.equal(outcome({}), 'wait', 'its filesystem is not mounted');
  t.equal(outcome({ from: other }), 'wait');
  t.equal(outcome({ from: other, to: other }), 'lost');
  t.equal(outcome({ fromExists: false, toExists: false }), 'lost');
});

t.test('keeping', async (t) => {
  const snapshot = heldLayer(A).snapshot;
  const entry: KeepEntry = { kind: 'keep', container: A, kept: { snapshot, lease: 'lease' }, after: record() };
  t.equal(recoverKeep(entry, { snapshotExists: true, named: snapshot }), 'undo', 'the container still names it');
  t.equal(recoverKeep(entry, { snapshotExists: true, named: undefined }), 'complete');
  t.equal(recoverKeep(entry, { snapshotExists: true, named: heldLayer(B).snapshot }), 'complete');
  t.equal(recoverKeep(entry, { snapshotExists: false, named: undefined }), 'lost');
});
