// A folder in memory for programs that sync every change to their disk, where a test is not about disks: beside busy
// neighbours that takes a hundred times as long, and members of a cluster then take each other for dead.
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Teardown } from './teardown.ts';

const MEMORY = '/dev/shm';

/** Removed with the test. */
export async function makeMemoryFolder(t: Teardown): Promise<string> {
  const folder = await mkdtemp(join(existsSync(MEMORY) ? MEMORY : tmpdir(), 'holdfast-test-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  return folder;
}
