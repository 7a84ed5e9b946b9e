// A damaged database and a snapshot of it that is older than the last hand-over: the layer is found where it is.
import t, { type Test } from 'tap';
import type { ContainerId } from '../../../agent/model/ids.ts';
import { JOURNAL, LAYERS } from '../../../agent/reuse/layer.ts';
import { MemoryStore } from '../../../agent/state/memory-store.ts';
import { put } from '../../../agent/state/store.ts';
import { FakeNode } from './fake-node.ts';

const NEVER = new AbortController().signal;

async function open(t: Test): Promise<FakeNode> {
  const node = await FakeNode.open();
  t.teardown(() => node.close());
  return node;
}

async function createContainer(node: FakeNode, attempt: number): Promise<ContainerId> {
  await node.feature.containerCreating?.(node.creating(attempt, 'one'));
  const id = await node.createAtRuntime(attempt, 'one');
  await node.feature.containerCreated?.({ ...node.creating(attempt, 'one'), containerId: id });
  return id;
}

async function copyOf(store: MemoryStore): Promise<MemoryStore> {
  const copy = new MemoryStore();
  await copy.commit([...store.entries(LAYERS)].map(([key, layers]) => put(LAYERS, key, layers)));
  await copy.commit([...store.entries(JOURNAL)].map(([key, entry]) => put(JOURNAL, key, entry)));
  return copy;
}

async function recover(node: FakeNode, store: MemoryStore): Promise<void> {
  node.store = store;
  node.recovered = true;
  await node.restartAgent();
}

async function remove(node: FakeNode, id: ContainerId): Promise<void> {
  node.setState(id, 'exited');
  await node.feature.containerRemoving?.(node.step(id, 'exited'));
  await node.runtime.removeContainer(id, NEVER);
}

const lost = (node: FakeNode): boolean =>
  (node.feature.status?.() ?? []).some(({ text }) => text.includes('lost its writable layer'));

t.test('the record is from before the hand-over from the earlier container', async (t) => {
  const node = await open(t);
  const first = await createContainer(node, 0);
  await node.write(first, 'data');
  node.setState(first, 'exited');
  const stale = await copyOf(node.store);
  const second = await createContainer(node, 1);
  node.setState(second, 'running');
  await recover(node, stale);
  t.match(node.feature.admin.list().layers, [{ holderContainerId: second }]);
  await remove(node, second);
  t.strictSame(await node.read(await createContainer(node, 2)), ['data']);
});

t.test('the record is from before a hand-over of an empty layer to a container that is yet to start', async (t) => {
  const node = await open(t);
  const first = await createContainer(node, 0);
  node.setState(first, 'exited');
  const stale = await copyOf(node.store);
  const second = await createContainer(node, 1);
  await recover(node, stale);
  node.setState(second, 'running');
  await node.write(second, 'data');
  await remove(node, second);
  t.strictSame(await node.read(await createContainer(node, 2)), ['data']);
});

t.test('the record is from before the hand-over of a kept layer, whose snapshot is gone', async (t) => {
  const node = await open(t);
  const first = await createContainer(node, 0);
  await node.write(first, 'data');
  await remove(node, first);
  const stale = await copyOf(node.store);
  const second = await createContainer(node, 1);
  node.setState(second, 'running');
  await recover(node, stale);
  t.match(node.feature.admin.list().layers, [{ state: 'attached', holderContainerId: second }]);
  t.notOk(lost(node), 'nothing was lost');
  await remove(node, second);
  t.strictSame(await node.read(await createContainer(node, 2)), ['data']);
});

t.test('a record that is right stands', async (t) => {
  const node = await open(t);
  const first = await createContainer(node, 0);
  await node.write(first, 'data');
  node.setState(first, 'exited');
  const same = await copyOf(node.store);
  const second = await node.createAtRuntime(1, 'one');
  await recover(node, same);
  t.match(node.feature.admin.list().layers, [{ holderContainerId: first }]);
  await node.runtime.removeContainer(second, NEVER);
  t.strictSame(await node.read(await createContainer(node, 1)), ['data']);
});
