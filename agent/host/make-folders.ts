// Makes directories with the mode that they are to have, whatever the process's mask takes away.
import { chmod, mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * Makes a directory and those above it that are missing; one that is there keeps its mode.
 * @param path - absolute
 * @param mode - permission bits of each that is made
 */
export async function makeFolders(path: string, mode: number): Promise<void> {
  const first = await mkdir(path, { recursive: true, mode });
  if (first === undefined) return;
  for (let at = path; at.length >= first.length; at = dirname(at)) await chmod(at, mode);
}
