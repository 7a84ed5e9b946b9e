// The real machines of the test data (hwloc's traces of /sys), where it is there.
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { HostTopology } from '../../agent/model/host-topology.ts';
import { readHostTopology } from '../../agent/topology/read-topology.ts';
import { evenHost, GIB } from '../support/hand-made-hosts.ts';

const PATIENCE_MS = 300_000;

/** @param nodes - how many nodes are to be made of them; for the line that is printed */
export async function readMachines(nodes: number): Promise<readonly HostTopology[]> {
  const data = process.env['HOLDFAST_TEST_DATA'] ?? fileURLToPath(new URL('../../../shared/data', import.meta.url));
  const folder = join(data, 'topologies');
  const archives = (await readdir(folder).catch((): string[] => [])).filter((name) => name.endsWith('.tar.bz2'));
  const work = await mkdtemp(join(tmpdir(), 'holdfast-bench-'));
  try {
    const read: HostTopology[] = [];
    for (const archive of archives) {
      const place = join(work, archive);
      await mkdir(place);
      await promisify(execFile)('tar', ['xjf', join(folder, archive), '-C', place]);
      const [root = ''] = await readdir(place);
      const { topology } = await readHostTopology(join(place, root), AbortSignal.timeout(PATIENCE_MS));
      // A trace of a machine's files does not say which process may use what.
      if (topology.usableCpus.size > 8) read.push(topology);
    }
    process.stdout.write(
      `\n${nodes} nodes of ${read.length} real machines${read.length === 0 ? ': made up instead' : ''}\n\n`,
    );
    return read.length > 0 ? read : [evenHost(2, 32, 2, { coresPerL3: 8, memoryBytes: 256 * GIB })];
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}
