// Machines of other shapes as Holdfast reads them from /sys, compared with what QEMU was told; and the cache that the
// machines come from.
import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { z } from 'zod';
import { cacheRoot } from '../support/build-cache.ts';
import { type Machine, NEEDS_ROOT, startMachine } from './machine/machine.ts';
import { ONE_CPU_OFFLINE, SMT } from './machine/shapes.ts';

const topologySchema = z.object({
  cpus: z.array(z.object({ id: z.number(), core: z.number(), socket: z.number(), online: z.boolean() })),
  numaNodes: z.array(z.object({ id: z.number(), cpus: z.string(), sharedCpus: z.string() })),
});

/** Read by a program that knows nothing of the node but its files. */
async function readTopology(machine: Machine): Promise<z.infer<typeof topologySchema>> {
  const json = await machine.run('/opt/holdfast/bin/holdfast topology --root / -o json', 10 * 60_000);
  return topologySchema.parse(JSON.parse(json));
}

/** As many bytes as before, so that only who reads them can notice. */
async function damageSaved(t: Test, name: string): Promise<void> {
  const folders = (await readdir(cacheRoot())).filter((entry) => new RegExp(`^${name}-[0-9a-f]{16}$`).test(entry));
  t.not(folders.length, 0, `the cache has ${name}`);
  for (const folder of folders) {
    const file = await open(join(cacheRoot(), folder, 'state'), 'r+');
    await file.write(Buffer.alloc(4096));
    await file.close();
  }
}

t.test(
  'two threads in each core, on a saved machine that was damaged and is made again',
  { skip: NEEDS_ROOT },
  async (t) => {
    const first = await startMachine(t, SMT);
    await first.stop();
    await damageSaved(t, 'vm-booted-smt');
    const { cpus } = await readTopology(await startMachine(t, SMT));
    // Which numbers cores have is the kernel's business.
    const coreOf = (id: number): number | undefined => cpus.find((cpu) => cpu.id === id)?.core;
    t.equal(cpus.length, 4);
    t.strictSame([coreOf(0), coreOf(2)], [coreOf(1), coreOf(3)], 'the threads of a core');
    t.not(coreOf(0), coreOf(2), 'are not those of the other');
  },
);

t.test('a CPU that is offline', { skip: NEEDS_ROOT }, async (t) => {
  const { cpus, numaNodes } = await readTopology(await startMachine(t, ONE_CPU_OFFLINE));
  t.strictSame(
    cpus.filter(({ online }) => !online).map(({ id }) => id),
    [3],
  );
  t.strictSame(
    numaNodes.map(({ sharedCpus }) => sharedCpus),
    ['0-1', '2'],
    'nobody runs there',
  );
});
