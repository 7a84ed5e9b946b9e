// What cannot be handed over: the container begins anew, users are told, and data that nobody gave up stays.
import { mkdir, mkdtemp, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import t, { type Test } from 'tap';
import type { ContainerId } from '../../../agent/model/ids.ts';
import { ResetLayerRequestSchema } from '../../../proto/gen/holdfast/admin/v1/admin_pb.ts';
import { FakeNode } from './fake-node.ts';

const NEVER = new AbortController().signal;

async function open(t: Test): Promise<FakeNode> {
  const node = await FakeNode.open();
  t.teardown(() => node.close());
  return node;
}

async function createContainer(node: FakeNode, attempt: number, image = 'one'): Promise<ContainerId> {
  await node.feature.containerCreating?.(node.creating(attempt, image));
  const id = await node.createAtRuntime(attempt, image);
  await node.feature.containerCreated?.({ ...node.creating(attempt, image), containerId: id });
  return id;
}

async function start(node: FakeNode, id: ContainerId): Promise<void> {
  node.setState(id, 'running');
  await node.feature.containerStarted?.(node.step(id, 'running'));
}

/** A container that has written a file and ended. */
async function withData(node: FakeNode): Promise<ContainerId> {
  const id = await createContainer(node, 0);
  await start(node, id);
  await node.write(id, 'data');
  node.setState(id, 'exited');
  return id;
}

const states = (node: FakeNode): readonly string[] => node.feature.admin.list().layers.map(({ state }) => state);
const warnings = (node: FakeNode): string =>
  (node.feature.status?.() ?? [])
    .filter(({ level }) => level === 'warning')
    .map(({ text }) => text)
    .join('\n');

t.test('the new layer is not empty', async (t) => {
  const node = await open(t);
  const first = await withData(node);
  await node.feature.containerCreating?.(node.creating(1, 'one'));
  const second = await node.createAtRuntime(1, 'one');
  await writeFile(join(node.directory(second), 'from-the-image'), '');
  await node.feature.containerCreated?.({ ...node.creating(1, 'one'), containerId: second });
  t.match(warnings(node), /begins with an empty writable layer because the new layer is not empty/);
  t.strictSame(states(node), ['attached', 'superseded']);

  await start(node, second);
  node.setState(second, 'exited');
  await node.feature.containerRemoving?.(node.step(first, 'exited'));
  await node.runtime.removeContainer(first, NEVER);
  t.strictSame(states(node), ['attached', 'superseded'], 'its data outlives its container');
  t.strictSame(await node.fullSnapshots(), [first, second]);

  const third = await createContainer(node, 2);
  t.strictSame(await node.read(third), ['from-the-image'], 'from then on the new layer is handed over');
  t.strictSame(states(node), ['attached', 'superseded']);
});

const [here, there] = await Promise.all([stat(tmpdir()), stat('/dev/shm')]);
const skip = here.dev === there.dev && `${tmpdir()} and /dev/shm are one filesystem`;

t.test('the new layer is on another filesystem', { skip }, async (t) => {
  const node = await open(t);
  const first = await withData(node);
  await node.feature.containerCreating?.(node.creating(1, 'one'));
  const elsewhere = await mkdtemp('/dev/shm/holdfast-');
  t.teardown(() => rm(elsewhere, { recursive: true, force: true }));
  const second = await node.createAtRuntime(1, 'one');
  await rm(dirname(node.directory(second)), { recursive: true });
  await mkdir(join(elsewhere, 'fs'));
  await symlink(elsewhere, dirname(node.directory(second)));
  await node.feature.containerCreated?.({ ...node.creating(1, 'one'), containerId: second });
  t.match(warnings(node), /different filesystems/);
  t.strictSame(await node.read(first), ['data']);
  t.strictSame(await node.read(second), []);
});

t.test('a runtime without layers: nothing is refused, nothing is promised', async (t) => {
  const node = await open(t);
  node.runtime.layers = undefined;
  const first = await createContainer(node, 0);
  await start(node, first);
  t.strictSame(states(node), []);
  t.match(warnings(node), /gives no access to writable layers/);
  await node.feature.containerRemoving?.(node.step(first, 'exited'));
  await node.feature.reconcile?.(NEVER);
});

t.test('the runtime is away at the start: nothing begins with an empty layer that may have a full one', async (t) => {
  const node = await open(t);
  await withData(node);
  const listContainers = node.runtime.listContainers.bind(node.runtime);
  node.runtime.listContainers = () => Promise.reject(new Error('away'));
  await node.restartAgent();
  await t.rejects(createContainer(node, 1), { code: 'UNAVAILABLE' });
  node.runtime.listContainers = listContainers;
  t.strictSame(await node.read(await createContainer(node, 1)), ['data']);
});

t.test('a reset that is taken back with its container stays asked for', async (t) => {
  const node = await open(t);
  await withData(node);
  await node.feature.admin.reset(create(ResetLayerRequestSchema, { pod: 'default/pod-uid', container: 'app' }), NEVER);
  const second = await createContainer(node, 1);
  t.strictSame(await node.read(second), []);
  await node.feature.containerAbandoned?.(node.step(second, 'created'));
  await node.runtime.removeContainer(second, NEVER);
  const third = await createContainer(node, 1);
  t.strictSame(await node.read(third), []);
  await start(node, third);
  t.strictSame(states(node), ['attached']);
});
