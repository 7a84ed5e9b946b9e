// A full disk refuses commits with advice, loses nothing, and works again when there is room.
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, rm, unlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { z } from 'zod';
import { openStore } from '../../../agent/state/open-store.ts';
import { put, type Table } from '../../../agent/state/store.ts';
import type { HoldfastError } from '../../../lib/errors.ts';

const run = promisify(execFile);
const BLOBS: Table<string> = { name: 'blobs', schema: z.string() };
const BLOB = 'x'.repeat(20_000);

/** A tmpfs of 8 MiB; undefined where mounting is not allowed. */
async function smallDisk(t: Test): Promise<string | undefined> {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'holdfast-disk-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  try {
    await run('mount', ['-t', 'tmpfs', '-o', 'size=8m,mode=0700', 'holdfast-test', directory]);
  } catch (error) {
    t.comment(`skipped: a tmpfs cannot be mounted here: ${String(error)}`);
    return undefined;
  }
  // Before the removal above: teardowns run in reverse order.
  t.teardown(() => run('umount', [directory]));
  return directory;
}

t.test('commits are refused while the disk is full, and nothing else is lost', async (t) => {
  const disk = await smallDisk(t);
  if (disk === undefined) return;
  const ballast = path.join(disk, 'ballast');
  await writeFile(ballast, Buffer.alloc(6_500_000));
  const directory = path.join(disk, 'state');
  const problems: HoldfastError[] = [];
  const { store } = await openStore({ directory, onProblem: (error) => problems.push(error) });
  t.teardown(() => store.close());
  let stored = 0;
  let refused: unknown;
  while (refused === undefined && stored < 200) {
    try {
      await store.commit([put(BLOBS, `blob-${stored}`, BLOB)]);
      stored += 1;
    } catch (error) {
      refused = error;
    }
  }
  t.match(refused, { code: 'HOST_FAILURE', message: /could not be written; its file system is full: free some space/ });
  t.ok(stored > 3, `${stored} commits fitted`);
  t.equal(store.entries(BLOBS).size, stored, 'memory is what is on disk');
  await t.rejects(store.commit([put(BLOBS, 'again', BLOB)]), { code: 'HOST_FAILURE' });
  await unlink(ballast);
  await store.commit([put(BLOBS, 'after', 'y')]);
  t.equal(store.entries(BLOBS).size, stored + 1);
  await store.close();
  const again = await openStore({ directory, onProblem: (error) => problems.push(error) });
  t.teardown(() => again.store.close());
  t.equal(again.recovery, undefined);
  t.equal(again.store.entries(BLOBS).size, stored + 1);
  t.ok(
    problems.every(({ message }) => /snapshot/.test(message)),
    'at most snapshots could not be written',
  );
});

t.test('the agent starts on a disk that is full', async (t) => {
  const disk = await smallDisk(t);
  if (disk === undefined) return;
  const directory = path.join(disk, 'state');
  const first = await openStore({ directory, onProblem: (error) => t.fail(error.message) });
  await first.store.commit([put(BLOBS, 'a', 'x')]);
  await first.store.close();
  await run('sh', ['-c', `dd if=/dev/zero of='${path.join(disk, 'ballast')}' bs=4k 2>/dev/null; true`]);
  const second = await openStore({ directory, onProblem: () => {} });
  t.teardown(() => second.store.close());
  t.equal(second.recovery, undefined);
  t.strictSame([...second.store.entries(BLOBS)], [['a', 'x']]);
  await t.rejects(second.store.commit([put(BLOBS, 'b', BLOB)]), { code: 'HOST_FAILURE' });
  await second.store.close();
  t.notOk((await readdir(directory)).some((name) => name.startsWith('damaged-')));
});

t.test('a disk that was mounted read-only refuses with a reason', async (t) => {
  const disk = await smallDisk(t);
  if (disk === undefined) return;
  const directory = path.join(disk, 'state');
  const first = await openStore({ directory, onProblem: (error) => t.fail(error.message) });
  await first.store.commit([put(BLOBS, 'a', 'x')]);
  await first.store.close();
  await run('mount', ['-o', 'remount,ro', disk]);
  await t.rejects(openStore({ directory, onProblem: () => {} }), {
    code: 'HOST_FAILURE',
    cause: { code: 'EROFS' },
  });
  await run('mount', ['-o', 'remount,rw', disk]);
  const again = await openStore({ directory, onProblem: (error) => t.fail(error.message) });
  t.equal(again.store.entries(BLOBS).size, 1);
  await again.store.close();
});
