// Damaged files never crash or stop the agent, and never lose what the snapshot has.
import { readdir, rm, stat, truncate } from 'node:fs/promises';
import path from 'node:path';
import t from 'tap';
import { openStore } from '../../../agent/state/open-store.ts';
import { put } from '../../../agent/state/store.ts';
import { copyStore, overwrite, PAGE, PODS, RECORDS, writeStore } from '../../support/damageable-store.ts';

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
const SEEDS = 20;

t.test('whatever the damage, the records are those of the database or its snapshot', async (t) => {
  const original = await writeStore(t);
  const kinds = Object.entries(DAMAGES);
  let recovered = 0;
  for (let seed = 0; seed < SEEDS; seed += 1) {
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
    if (seed % 5 === 0) {
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
  t.ok(recovered > SEEDS / 2, `${recovered} of ${SEEDS} needed the snapshot`);
});
