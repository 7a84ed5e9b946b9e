// Damaged files never crash or stop the agent, and never lose what the snapshot has.
import { copyFile, mkdir, mkdtemp, open, readdir, rm, stat, truncate, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import t from 'tap';
import { z } from 'zod';
import { openStore } from '../../../agent/state/open-store.ts';
import { put, type Table } from '../../../agent/state/store.ts';

const PODS: Table<{ readonly n: number; readonly text: string }> = {
  name: 'pods',
  schema: z.object({ n: z.number(), text: z.string() }),
};
const RECORDS = 300;
const PAGE = 4096;

/** Numbers that look random and are the same at each run (mulberry32). */
function randomFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

/** A directory with a store of some hundred records, rewritten so that the file has free pages too. */
async function writeStore(): Promise<string> {
  const parent = await mkdtemp(path.join(os.tmpdir(), 'holdfast-damage-'));
  t.teardown(() => rm(parent, { recursive: true, force: true }));
  const directory = path.join(parent, 'original');
  const { store } = await openStore({ directory, onProblem: (error) => t.fail(error.message) });
  for (const round of [0, 1, 2]) {
    const changes = Array.from({ length: RECORDS }, (_, n) =>
      put(PODS, `pod-${n}`, { n, text: `${round}`.repeat(n % 400) }),
    );
    for (let at = 0; at < changes.length; at += 50) await store.commit(changes.slice(at, at + 50));
  }
  await store.close();
  return directory;
}

/** Every test damages a copy. */
const written = writeStore();

async function copyStore(original: string, name: string): Promise<string> {
  const directory = path.join(path.dirname(original), name);
  await rm(directory, { recursive: true, force: true });
  await mkdir(directory);
  for (const file of ['state.mdb', 'snapshot.jsonl']) {
    await copyFile(path.join(original, file), path.join(directory, file));
  }
  return directory;
}

async function overwrite(file: string, at: number, bytes: Buffer): Promise<void> {
  await using handle = await open(file, 'r+');
  await handle.write(bytes, 0, bytes.length, at);
}

const DAMAGES: Readonly<
  Record<string, (file: string, size: number, random: (below: number) => number) => Promise<void>>
> = {
  'random bytes over pages': async (file, size, random) => {
    for (let count = 1 + random(4); count > 0; count -= 1) {
      const bytes = Buffer.from(Array.from({ length: PAGE }, () => random(256)));
      await overwrite(file, random(Math.floor(size / PAGE)) * PAGE, bytes);
    }
  },
  'a few flipped bytes': async (file, size, random) => {
    for (let count = 0; count < 40; count += 1) await overwrite(file, random(size), Buffer.from([random(256)]));
  },
  'zeroed pages': async (file, size, random) => {
    await overwrite(file, random(Math.floor(size / PAGE)) * PAGE, Buffer.alloc(PAGE * (1 + random(5))));
  },
  truncated: async (file, size, random) => truncate(file, random(size)),
  'zeroed header': async (file) => overwrite(file, 0, Buffer.alloc(2 * PAGE)),
  'one zeroed header page': async (file, _size, random) => overwrite(file, random(2) * PAGE, Buffer.alloc(PAGE)),
};

// Each seed starts two or three processes.
t.setTimeout(300_000);

t.test('whatever the damage, the records are those of the database or its snapshot', async (t) => {
  const original = await written;
  const kinds = Object.entries(DAMAGES);
  let recovered = 0;
  for (let seed = 0; seed < 24; seed += 1) {
    const [name, damage] = kinds[seed % kinds.length] ?? [];
    if (name === undefined || damage === undefined) throw new Error('there are no damages');
    const directory = await copyStore(original, `seed-${seed}`);
    const file = path.join(directory, 'state.mdb');
    await damage(file, (await stat(file)).size, randomFrom(seed));
    const { store, recovery } = await openStore({ directory, onProblem: (error) => t.comment(error.message) });
    const pods = store.entries(PODS);
    t.equal(pods.size, RECORDS, `${name}, seed ${seed}: ${recovery?.reason ?? 'undamaged where it matters'}`);
    t.ok([...pods].every(([key, { n, text }]) => key === `pod-${n}` && text === '2'.repeat(n % 400)));
    // Damage among the free pages shows only when they are used again.
    for (const round of [3, 4]) {
      await store.commit(Array.from({ length: RECORDS }, (_, n) => put(PODS, `pod-${n}`, { n, text: `${round}` })));
    }
    await store.close();
    if (seed % 4 === 0) {
      const again = await openStore({ directory, onProblem: (error) => t.fail(error.message) });
      const texts = [...again.store.entries(PODS).values()].map(({ text }) => text);
      t.ok(texts.length === RECORDS && texts.every((text) => text === '4'), 'and it goes on working');
      await again.store.close();
    }
    if (recovery !== undefined) {
      recovered += 1;
      t.equal(recovery.recovered, 'snapshot');
      t.ok((await readdir(directory)).some((entry) => entry.startsWith('damaged-')));
    }
    await rm(directory, { recursive: true });
  }
  t.ok(recovered > 12, `${recovered} of 24 needed the snapshot`);
});

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
