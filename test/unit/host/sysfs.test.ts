// Reading below a root directory: what is there, what leads out of it, and how large a host may be.
import { execFileSync } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import t from 'tap';
import { mapBounded, openHostTree } from '../../../agent/host/host-tree.ts';
import { readRawHost } from '../../../agent/host/sysfs.ts';
import { readHostTopology } from '../../../agent/topology/read-topology.ts';
import { filesOf, regularMachine } from '../topology/fake-machine.ts';

const signal = new AbortController().signal;

async function writeFiles(root: string, files: ReadonlyMap<string, string>): Promise<void> {
  const directories = new Set([...files.keys()].map((path) => dirname(path)));
  await mapBounded([...directories], 8, async (path) => mkdir(join(root, path), { recursive: true }));
  await mapBounded([...files], 8, async ([path, text]) => writeFile(join(root, path), text));
}

await t.test('texts, listings and links', async (t) => {
  const root = t.testdir({
    sys: { b: 'text\n\0\0', a: t.fixture('symlink', 'b'), d: { z: '', y: '' } },
    proc: { self: t.fixture('symlink', '../sys') },
  });
  const tree = await openHostTree(root);
  t.same(await tree.readText('/sys/b'), { path: '/sys/b', text: 'text\n' }, 'NUL bytes at the end are taken off');
  t.equal((await tree.readText('/proc/self/a'))?.text, 'text\n', 'links inside the root are followed');
  t.same(await tree.list('/sys/d'), ['y', 'z']);
  t.same(await tree.listKinds('/sys'), [
    { name: 'a', kind: 'other' },
    { name: 'b', kind: 'other' },
    { name: 'd', kind: 'directory' },
  ]);
  t.equal(await tree.readLink('/sys/a'), 'b');
  t.equal(await tree.readLink('/sys/b'), undefined);
  t.equal(await tree.readText('/sys/none'), undefined);
  t.equal(await tree.readText('/sys/b/c'), undefined);
  t.equal(await tree.list('/sys/none'), undefined);
});

await t.test('links that lead out of the root are refused', async (t) => {
  const outside = t.testdir({
    secret: { file: 'x' },
    root: { relative: t.fixture('symlink', '../secret'), back: t.fixture('symlink', '/a/../../secret'), a: {} },
  });
  const tree = await openHostTree(join(outside, 'root'));
  const refused = { code: 'HOST_FAILURE', message: /leads out of the root directory/ };
  await t.rejects(tree.readText('/back/file'), refused);
  await t.rejects(tree.readText('/relative/file'), refused);
  await t.rejects(tree.list('/relative'), refused);
  await t.rejects(tree.readText('/../secret/file'), refused, 'dots do not help');
});

await t.test('an absolute link means a path of the machine whose tree it is', async (t) => {
  const link = (target: string) => t.fixture('symlink', target);
  const root = t.testdir({
    etc: { hostname: link('/usr/etc/hostname'), passwd: link('/etc/none'), loop: link('/etc/loop') },
    usr: { etc: link('/data/./etc') },
    data: { etc: { hostname: 'copied\n' } },
  });
  const tree = await openHostTree(root);
  t.equal((await tree.readText('/etc/hostname'))?.text, 'copied\n');
  t.strictSame(await tree.list('/usr/etc'), ['hostname']);
  t.equal(await tree.readText('/etc/passwd'), undefined, 'and never one of this machine');
  await t.rejects(tree.readText('/etc/loop'), { code: 'HOST_FAILURE' });
});

await t.test('what is not a small regular file', async (t) => {
  const root = t.testdir({ directory: {}, large: 'x'.repeat(70_000) });
  execFileSync('mkfifo', [join(root, 'fifo')]);
  const tree = await openHostTree(root);
  await t.rejects(tree.readText('/fifo'), { code: 'HOST_FAILURE', message: '/fifo is not a regular file' });
  await t.rejects(tree.readText('/directory'), { code: 'HOST_FAILURE' });
  await t.rejects(tree.readText('/large'), { code: 'HOST_FAILURE', message: '/large is longer than 65536 bytes' });
  t.equal((await tree.readText('/large', { maxBytes: 10, longer: 'cut' }))?.text.length, 10);
  t.equal((await tree.readText('/large', { maxBytes: 70_000 }))?.text.length, 70_000);
});

await t.test('a root that is not there, or no machine', async (t) => {
  const root = t.testdir({ etc: {} });
  await t.rejects(openHostTree(join(root, 'none')), { code: 'NOT_FOUND', message: /none cannot be opened/ });
  await t.rejects(readHostTopology(root, signal), { code: 'PRECONDITION', message: /the top folder of a copy/ });
});

await t.test('this machine', async (t) => {
  const { topology } = await readHostTopology('/', signal);
  const online = topology.cpus.filter((cpu) => cpu.online);
  t.ok(online.length > 0);
  t.ok(online.every(({ core, socket }) => core >= 0 && socket >= 0));
  t.ok(topology.usableCpus.size > 0);
  t.ok(topology.numaNodes.some(({ memoryBytes }) => memoryBytes > 0));
});

await t.test('1024 CPUs', async (t) => {
  const root = t.testdir({});
  await writeFiles(root, filesOf(regularMachine(2, 4, 64, 2)));
  const { topology, remarks } = await readHostTopology(root, signal);
  t.same(remarks, []);
  t.equal(topology.cpus.length, 1024);
  t.equal(new Set(topology.cpus.map(({ core }) => core)).size, 512);
  t.equal(topology.numaNodes[7]?.cpus.toString(), '448-511,960-1023');
});

await t.test('a given-up reading stops', async (t) => {
  const reason = new Error('given up');
  const tree = await openHostTree('/');
  await t.rejects(readRawHost(tree, AbortSignal.abort(reason)), reason);
});

await t.test('bounded work: at most so many at once, results in order, the first failure ends it', async (t) => {
  let running = 0;
  let most = 0;
  const results = await mapBounded([5, 4, 3, 2, 1], 2, async (item) => {
    running += 1;
    most = Math.max(most, running);
    for (let turn = 0; turn < item; turn += 1) await Promise.resolve();
    running -= 1;
    return item * 2;
  });
  t.same(results, [10, 8, 6, 4, 2]);
  t.equal(most, 2);
  const seen: number[] = [];
  const work = mapBounded([1, 2, 3, 4], 1, async (item) => {
    seen.push(item);
    if (item === 2) throw new Error('two');
  });
  await t.rejects(work, { message: 'two' });
  t.same(seen, [1, 2]);
  t.same(await mapBounded([], 4, async () => 1), []);
});
