// A program that commits for ever and says after each commit that it is durable; for tests that kill it.
import { z } from 'zod';
import { openStore } from '../../../agent/state/open-store.ts';
import { put, type Table } from '../../../agent/state/store.ts';

const COUNTERS: Table<{ readonly n: number }> = { name: 'counters', schema: z.object({ n: z.number() }) };

const directory = process.argv[2];
if (directory === undefined) throw new Error('writer-program.ts DIRECTORY');
const { store } = await openStore({ directory, onProblem: (error) => console.error(error) });
const start = Math.max(0, ...[...store.entries(COUNTERS).values()].map(({ n }) => n));
for (let n = start + 1; ; n += 1) {
  // Two records in one commit: half of it must never be seen.
  await store.commit([put(COUNTERS, `k${n % 20}`, { n }), put(COUNTERS, 'twin', { n })]);
  process.stdout.write(`${n}\n`);
}
