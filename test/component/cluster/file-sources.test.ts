// The sources over real files: changes are noticed, bad files do no harm, editors' tricks do not delete pods.
import { mkdir, mkdtemp, rename, rm, unlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import t, { type Test } from 'tap';
import { combinePodSources } from '../../../agent/cluster/combined-pod-source.ts';
import { startFilePodSource } from '../../../agent/cluster/file-pod-source.ts';
import type { PodName, PodPhase, PodSource } from '../../../agent/cluster/pod-source.ts';
import { startStaticManifestPodSource } from '../../../agent/cluster/static-manifest-pod-source.ts';
import { podUid } from '../../../agent/model/ids.ts';

const manifest = (name: string, uid?: string, extra = '') =>
  `{apiVersion: v1, kind: Pod, metadata: {name: ${name}${uid === undefined ? '' : `, uid: ${uid}`}}, spec: {${extra}}}\n`;
const pod = (uid: string, name: string): PodName => ({ uid: podUid(uid), namespace: 'default', name });
const onError = (error: unknown): void => {
  throw error;
};

async function folderFor(t: Test): Promise<string> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'holdfast-pods-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** Resolves at the change after which the condition holds. */
async function until(source: PodSource, holds: () => boolean): Promise<void> {
  // Sources do not keep a process alive; waiting for one must.
  const alive = setInterval(() => {}, 1000);
  let end: () => void = () => undefined;
  await new Promise<void>((resolve) => {
    const look = (): void => {
      if (holds()) resolve();
    };
    end = source.onChange(look);
    look();
  });
  end();
  clearInterval(alive);
}

const becomes = (source: PodSource, name: PodName, phase: PodPhase): Promise<void> =>
  until(source, () => source.phaseOf(name) === phase);

const hasProblem = (source: PodSource): Promise<void> => until(source, () => source.status().problem !== undefined);

t.test('the file is followed through rewrites, replacements and bad versions', async (t) => {
  const folder = await folderFor(t);
  const file = path.join(folder, 'pods.yaml');
  const source = await startFilePodSource({ file, onError, settleMs: 50 });
  t.teardown(() => source.close());
  t.match(source.status(), { name: `file ${file}`, problem: /ENOENT/ });
  t.equal(source.phaseOf(pod('u1', 'web')), 'unknown');

  await writeFile(file, manifest('web', 'u1'));
  await becomes(source, pod('u1', 'web'), 'present');
  t.equal(source.find(pod('u1', 'web'))?.name, 'web');
  t.equal(source.find(pod('u2', 'web')), undefined, 'another pod of that name');
  t.equal(source.status().problem, undefined);

  await writeFile(file, '{');
  await hasProblem(source);
  t.match(source.status().problem, /pods\.yaml: it is not YAML/);
  t.equal(source.phaseOf(pod('u1', 'web')), 'present', 'the last good view');

  await writeFile(`${file}.new`, manifest('db', 'u3'));
  await rename(`${file}.new`, file);
  await becomes(source, pod('u3', 'db'), 'present');
  await becomes(source, pod('u1', 'web'), 'deleted');
  await unlink(file);
  await becomes(source, pod('u1', 'web'), 'unknown');
  t.equal(source.phaseOf(pod('u3', 'db')), 'present', 'a file that is gone says nothing');
});

t.test('a pod without a UID that was made anew is not held for ever, nor is the new one finished', async (t) => {
  const folder = await folderFor(t);
  const file = path.join(folder, 'pods.yaml');
  await writeFile(file, `${manifest('web')}---\n${manifest('db', 'u1')}`);
  const source = await startFilePodSource({ file, onError, settleMs: 10 });
  t.teardown(() => source.close());
  t.equal(source.phaseOf(pod('before', 'web')), 'present');
  t.equal(source.phaseOf(pod('after', 'web')), 'unknown');
  t.equal(source.phaseOf(pod('before', 'web')), 'unknown');
  t.equal(source.find(pod('after', 'web'))?.name, 'web', 'what it is like is known');
  await writeFile(
    file,
    `${manifest('web').replace('spec', 'status: {phase: Succeeded}, spec')}---\n${manifest('db', 'u1')}`,
  );
  await until(source, () => source.find(pod('after', 'web'))?.finished === true);
  t.equal(source.phaseOf(pod('after', 'web')), 'unknown', 'it may be the other one');
  t.equal(source.phaseOf(pod('u1', 'db')), 'present');
  t.equal(source.phaseOf(pod('u2', 'db')), 'unknown');
  t.equal(source.phaseOf(pod('u1', 'db')), 'present', 'UIDs in the file leave no doubt');
  await writeFile(file, manifest('db', 'u1'));
  await becomes(source, pod('before', 'web'), 'deleted');
  await writeFile(file, `${manifest('web')}---\n${manifest('db', 'u1')}`);
  await becomes(source, pod('after', 'web'), 'present');
});

t.test('static pods are known by their name on the node', async (t) => {
  const folder = await folderFor(t);
  await writeFile(path.join(folder, 'etcd.yaml'), manifest('etcd', undefined, 'containers: [{name: main}]'));
  await writeFile(path.join(folder, '.hidden.yaml'), '{');
  await mkdir(path.join(folder, 'directory'));
  const source = await startStaticManifestPodSource({ folder, nodeName: 'Node-1', onError, settleMs: 50 });
  t.teardown(() => source.close());
  t.equal(source.status().problem, undefined);
  const etcd = pod('5e2d', 'etcd-node-1');
  t.match(source.find(etcd), { uid: '5e2d', name: 'etcd', containers: [{ name: 'main', kind: 'app' }] });
  t.equal(source.phaseOf(etcd), 'present');
  t.equal(source.phaseOf(pod('1', 'etcd')), 'unknown');
  t.equal(source.phaseOf(pod('2', 'from-the-api-server')), 'unknown');
  await unlink(path.join(folder, 'etcd.yaml'));
  await becomes(source, etcd, 'deleted');
  t.equal(source.phaseOf(pod('2', 'from-the-api-server')), 'unknown', 'nothing is known of other pods');
});

t.test('a folder that does not exist has no static pods, and one that appears is read', async (t) => {
  const folder = path.join(await folderFor(t), 'manifests');
  const source = await startStaticManifestPodSource({ folder, nodeName: 'n', onError, settleMs: 50 });
  t.teardown(() => source.close());
  t.equal(source.status().problem, undefined);
  await mkdir(folder);
  await writeFile(path.join(folder, 'etcd.yaml'), manifest('etcd'));
  await becomes(source, pod('1', 'etcd-n'), 'present');
  await rm(folder, { recursive: true });
  await becomes(source, pod('1', 'etcd-n'), 'deleted');
});

t.test('after a manifest was edited neither pod of that name is held for ever', async (t) => {
  const folder = await folderFor(t);
  await writeFile(path.join(folder, 'etcd.yaml'), manifest('etcd'));
  const source = await startStaticManifestPodSource({ folder, nodeName: 'n', onError });
  t.teardown(() => source.close());
  t.equal(source.phaseOf(pod('before', 'etcd-n')), 'present');
  t.ok(source.find(pod('after', 'etcd-n')));
  t.equal(source.phaseOf(pod('before', 'etcd-n')), 'unknown');
  t.equal(source.phaseOf(pod('after', 'etcd-n')), 'unknown');
});

t.test('one bad manifest keeps pods from being called deleted', async (t) => {
  const folder = await folderFor(t);
  await writeFile(path.join(folder, 'a.yaml'), manifest('a'));
  await writeFile(path.join(folder, 'b.yaml'), manifest('b'));
  const source = await startStaticManifestPodSource({ folder, nodeName: 'n', onError, settleMs: 10 });
  t.teardown(() => source.close());
  await writeFile(path.join(folder, 'b.yaml'), 'kind: [');
  await unlink(path.join(folder, 'a.yaml'));
  await hasProblem(source);
  t.equal(source.phaseOf(pod('1', 'a-n')), 'present');
  t.equal(source.phaseOf(pod('2', 'b-n')), 'present');
  await unlink(path.join(folder, 'b.yaml'));
  await becomes(source, pod('1', 'a-n'), 'deleted');
});

t.test('combined: whoever keeps the pod wins, problems add up', async (t) => {
  const folder = await folderFor(t);
  await mkdir(path.join(folder, 'static'));
  await writeFile(path.join(folder, 'static', 'etcd.yaml'), manifest('etcd'));
  const combined = combinePodSources([
    await startFilePodSource({ file: path.join(folder, 'pods.yaml'), onError }),
    await startStaticManifestPodSource({ folder: path.join(folder, 'static'), nodeName: 'n', onError }),
  ]);
  t.teardown(() => combined.close());
  t.equal(combined.phaseOf(pod('1', 'etcd-n')), 'present');
  t.match(combined.status(), { problem: /ENOENT/ });
  t.equal(combined.find(pod('2', 'web')), undefined);
  const nothing = combinePodSources([]);
  t.strictSame(nothing.status(), { name: 'none', ageMs: 0 });
  t.equal(nothing.phaseOf(pod('1', 'etcd-n')), 'unknown');
});
