// A store to be damaged, and what damages it.
import { copyFile, mkdir, mkdtemp, open, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import type { Test } from 'tap';
import { z } from 'zod';
import { openStore } from '../../agent/state/open-store.ts';
import { put, type Table } from '../../agent/state/store.ts';

export const PODS: Table<{ readonly n: number; readonly text: string }> = {
  name: 'pods',
  schema: z.object({ n: z.number(), text: z.string() }),
};
export const RECORDS = 300;
export const PAGE = 4096;

/** A directory with a store of some hundred records, rewritten so that the file has free pages too. */
export async function writeStore(t: Test): Promise<string> {
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
export async function copyStore(original: string, name: string): Promise<string> {
  const directory = path.join(path.dirname(original), name);
  await rm(directory, { recursive: true, force: true });
  await mkdir(directory);
  for (const file of ['state.mdb', 'snapshot.jsonl']) {
    await copyFile(path.join(original, file), path.join(directory, file));
  }
  return directory;
}

export async function overwrite(file: string, at: number, bytes: Buffer): Promise<void> {
  await using handle = await open(file, 'r+');
  await handle.write(bytes, 0, bytes.length, at);
}
