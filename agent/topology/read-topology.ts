// Reads this host, or a copy of another: the door of agent/host/ and the pure assembly put together.
import { openHostTree } from '../host/host-tree.ts';
import { readConfinement } from '../host/procfs.ts';
import { readRawHost } from '../host/sysfs.ts';
import { type AssembledHost, assembleHost } from './assemble.ts';

/**
 * Reads the host's topology. A few thousand small files on a large host: at start and on a schedule, not on the CRI path.
 * @param root - `/`, or the top folder of a copy of another machine's `/sys` and `/proc`
 * @throws HoldfastError NOT_FOUND, PRECONDITION or HOST_FAILURE, naming the file
 */
export async function readHostTopology(root: string, signal: AbortSignal): Promise<AssembledHost> {
  const tree = await openHostTree(root);
  const raw = await readRawHost(tree, signal);
  return assembleHost(raw, await readConfinement(tree));
}
