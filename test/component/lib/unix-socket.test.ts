import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { claimSocketPath, listenUnix } from '../../../lib/unix-socket.ts';

interface Teardown {
  teardown(handler: () => Promise<void>): void;
}

async function createPath(t: Teardown): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'socket-'));
  t.teardown(() => rm(directory, { recursive: true }));
  return join(directory, 'below', 'a.sock');
}

async function listen(t: Teardown, path: string): Promise<Server> {
  const server = createServer((socket) => socket.end());
  t.teardown(() => new Promise((resolve) => server.close(() => resolve())));
  await listenUnix(server, path, 0o600);
  return server;
}

/** A socket file whose process is gone, as SIGKILL leaves it. */
async function leaveStale(path: string): Promise<void> {
  const server = createServer();
  await listenUnix(server, `${path}.tmp`, 0o600);
  await rename(`${path}.tmp`, path);
  await new Promise<void>((resolve) => server.close(() => resolve()));
}

t.test('a free path: the directory is made, the mode is right', async (t) => {
  const path = await createPath(t);
  const before = process.umask();
  await listen(t, path);
  t.equal((await stat(path)).mode & 0o777, 0o600);
  t.equal(process.umask(), before, 'the process has its mask back');
});

t.test('a living owner is respected', async (t) => {
  const path = await createPath(t);
  await listen(t, path);
  await t.rejects(listen(t, path), { code: 'PRECONDITION', message: /another process is listening/ });
  await t.rejects(claimSocketPath(path), { code: 'PRECONDITION' });
  t.ok(existsSync(path));
});

t.test('a stale socket is replaced', async (t) => {
  const path = await createPath(t);
  await leaveStale(path);
  t.ok(existsSync(path));
  await listen(t, path);
  t.same(await readdir(join(path, '..')), ['a.sock', 'a.sock.lock']);
});

t.test('of several that find the same stale socket, one wins', async (t) => {
  const path = await createPath(t);
  await leaveStale(path);
  const results = await Promise.allSettled(Array.from({ length: 5 }, () => listen(t, path)));
  t.equal(results.filter(({ status }) => status === 'fulfilled').length, 1);
  const lost = results.filter((result) => result.status === 'rejected');
  t.match(
    lost.map(({ reason }) => (reason as { code: string }).code),
    ['PRECONDITION', 'PRECONDITION', 'PRECONDITION', 'PRECONDITION'],
  );
  await t.rejects(claimSocketPath(path), { code: 'PRECONDITION' }, 'the winner is still reachable');
});

t.test('what is no socket is never removed', async (t) => {
  const path = await createPath(t);
  await claimSocketPath(path);
  await writeFile(path, 'precious');
  await t.rejects(claimSocketPath(path), { code: 'PRECONDITION', message: /is not a socket/ });
  t.equal((await stat(path)).size, 8);
});

t.test('paths that no socket can have', async (t) => {
  await t.rejects(claimSocketPath(`/tmp/${'x'.repeat(108)}`), { code: 'INVALID_REQUEST', message: /107 bytes/ });
  await t.rejects(claimSocketPath('/dev/null/a.sock'), { code: 'HOST_FAILURE', message: /\/dev\/null\/a\.sock/ });
});
