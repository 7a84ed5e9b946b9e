import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { withFileLock } from '../../../lib/file-lock.ts';

async function createPath(t: { teardown(handler: () => Promise<void>): void }): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'lock-'));
  t.teardown(() => rm(directory, { recursive: true }));
  return join(directory, 'a.lock');
}

t.test('one after the other, also after a failure', async (t) => {
  const path = await createPath(t);
  let inside = 0;
  let most = 0;
  const work = async (fails: boolean): Promise<void> => {
    inside += 1;
    most = Math.max(most, inside);
    await new Promise((resolve) => setTimeout(resolve, 5));
    inside -= 1;
    if (fails) throw new Error('failed inside');
  };
  const results = await Promise.allSettled(
    [false, true, false, false].map((fails) => withFileLock(path, 10_000, () => work(fails))),
  );
  t.equal(most, 1);
  t.same(
    results.map(({ status }) => status),
    ['fulfilled', 'rejected', 'fulfilled', 'fulfilled'],
  );
});

t.test('who waits too long is told', async (t) => {
  const path = await createPath(t);
  let release = (): void => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const first = withFileLock(path, 1000, () => held);
  await t.rejects(
    withFileLock(path, 30, async () => {}),
    { code: 'PRECONDITION', message: /a\.lock/ },
  );
  release();
  await first;
  t.equal(await withFileLock(path, 1000, async () => 7), 7);
});
