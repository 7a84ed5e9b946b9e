// Reads the shared CPU mask that the agent published. Only asked while the agent is away, so it is read each time.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseSharedMask, SHARED_MASK_FILE } from '../agent/model/shared-mask.ts';
import { describeError, isErrno } from '../lib/errors.ts';
import type { Log } from './log.ts';

/**
 * @param runDirectory - where the agent publishes
 * @returns a function that resolves to the CPUs in the kernel's list format, or undefined when none are published or
 *   the file cannot be used: containers are then created as they were asked for
 */
export function createSharedCpusReader(runDirectory: string, log: Log): () => Promise<string | undefined> {
  const path = join(runDirectory, SHARED_MASK_FILE);
  return async () => {
    try {
      return parseSharedMask(await readFile(path, 'utf8')).cpus.toString();
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) log.warn('shared-cpus', `${path}: ${describeError(error)}`);
      return undefined;
    }
  };
}
