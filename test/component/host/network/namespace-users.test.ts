// Which network namespaces are still somebody's: real ones with and without a process, and process tables that only procfs
// of another machine could show.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, stat, symlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import t, { type Test } from 'tap';
import { pollUntil } from '../../../../agent/cli/quickstart/poll.ts';
import { lookAtNamespaces } from '../../../../agent/host/network/namespace-users.ts';
import { makeNamespace, NO_NETWORK_NAMESPACES } from '../../../support/network-namespaces.ts';

t.test('a namespace is inhabited as long as a process lives in it', { skip: NO_NETWORK_NAMESPACES }, async (t) => {
  const [lived, empty] = [await makeNamespace(t, 'lived'), await makeNamespace(t, 'empty')];
  const paths = [lived.path, empty.path, `${lived.path}-gone`, '/dev/null/nowhere'];
  const nobody = await lookAtNamespaces(paths);
  t.strictSame([...nobody.present], [lived.path, empty.path]);
  t.strictSame([...nobody.inhabited], []);
  const child = spawn('ip', ['netns', 'exec', lived.name, 'busybox', 'cat'], { stdio: ['pipe', 'ignore', 'ignore'] });
  t.teardown(() => child.kill('SIGKILL'));
  const during = await pollUntil('the process to be in the namespace', 20_000, async () => {
    const found = await lookAtNamespaces(paths);
    return found.inhabited.size > 0 ? found : undefined;
  });
  t.strictSame([...during.inhabited], [lived.path]);
  child.stdin.end();
  await once(child, 'exit');
  t.strictSame([...(await lookAtNamespaces(paths)).inhabited], []);
});

t.test('nothing is asked of procfs for paths that are not there', async (t) => {
  const found = await lookAtNamespaces(['/run/netns/hftest-never'], '/nowhere');
  t.strictSame([found.present.size, found.inhabited.size], [0, 0]);
});

interface Procfs {
  readonly directory: string;
  readonly namespace: string;
  readonly link: string;
}

/** A file that plays a namespace, and an empty procfs. */
async function fakeProcfs(t: Test): Promise<Procfs> {
  const root = await mkdtemp(path.join(os.tmpdir(), 'holdfast-procfs-'));
  t.teardown(() => rm(root, { recursive: true, force: true }));
  const directory = path.join(root, 'proc');
  const namespace = path.join(root, 'netns');
  await mkdir(directory);
  await writeFile(namespace, '');
  return { directory, namespace, link: `net:[${(await stat(namespace)).ino}]` };
}

t.test('a process whose first thread has ended lives on in the others', async (t) => {
  const { directory, namespace, link } = await fakeProcfs(t);
  await mkdir(path.join(directory, '7', 'task', '7', 'ns'), { recursive: true });
  await mkdir(path.join(directory, '7', 'task', '8', 'ns'), { recursive: true });
  await symlink(link, path.join(directory, '7', 'task', '8', 'ns', 'net'));
  t.strictSame([...(await lookAtNamespaces([namespace], directory)).inhabited], [namespace]);
});

t.test('processes that have ended, and what is no process, live nowhere', async (t) => {
  const { directory, namespace, link } = await fakeProcfs(t);
  await mkdir(path.join(directory, '7'));
  await mkdir(path.join(directory, 'self', 'ns'), { recursive: true });
  await symlink(link, path.join(directory, 'self', 'ns', 'net'));
  t.strictSame([...(await lookAtNamespaces([namespace], directory)).inhabited], []);
});
