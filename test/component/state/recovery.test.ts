// What is kept of damaged files, and what happens when the snapshot is no help or better than the database.
import { copyFile, readdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import t from 'tap';
import { openStore } from '../../../agent/state/open-store.ts';
import { put } from '../../../agent/state/store.ts';
import { copyStore, overwrite, PAGE, PODS, RECORDS, writeStore } from '../../support/damageable-store.ts';

// Processes are started for each opening.
t.setTimeout(300_000);

const written = writeStore(t);

t.test('at most three damaged files are kept', async (t) => {
  const original = await written;
  const directory = await copyStore(original, 'often');
  for (let time = 0; time < 4; time += 1) {
    await overwrite(path.join(directory, 'state.mdb'), 0, Buffer.alloc(2 * PAGE));
    const { store, recovery } = await openStore({ directory, onProblem: () => {} });
    t.equal(recovery?.recovered, 'snapshot');
    t.equal(store.entries(PODS).size, RECORDS);
    await store.close();
  }
  t.equal((await readdir(directory)).filter((name) => name.startsWith('damaged-')).length, 3);
});

t.test('without a usable snapshot the store begins empty, and says so', async (t) => {
  const original = await written;
  const directory = await copyStore(original, 'both');
  await overwrite(path.join(directory, 'state.mdb'), 0, Buffer.alloc(2 * PAGE));
  await writeFile(path.join(directory, 'snapshot.jsonl'), 'not a snapshot');
  const { store, recovery } = await openStore({ directory, onProblem: (error) => t.fail(error.message) });
  t.match(recovery, { recovered: 'empty', reason: /nor can the snapshot: snapshot\.jsonl has no valid header/ });
  t.equal(store.entries(PODS).size, 0);
  await store.commit([put(PODS, 'a', { n: 1, text: '' })]);
  await store.close();
  const again = await openStore({ directory, onProblem: (error) => t.fail(error.message) });
  t.equal(again.recovery, undefined);
  t.equal(again.store.entries(PODS).size, 1);
  await again.store.close();
});

t.test('an older database than its snapshot is not believed', async (t) => {
  const original = await written;
  const directory = await copyStore(original, 'older');
  const first = await openStore({ directory, onProblem: (error) => t.fail(error.message) });
  await first.store.commit([put(PODS, 'newest', { n: 1, text: '' })]);
  await first.store.close();
  await copyFile(path.join(original, 'state.mdb'), path.join(directory, 'state.mdb'));
  const { store, recovery } = await openStore({ directory, onProblem: (error) => t.fail(error.message) });
  t.match(recovery, { recovered: 'snapshot', reason: /older than its snapshot/ });
  t.ok(store.entries(PODS).has('newest'));
  await store.close();
});
