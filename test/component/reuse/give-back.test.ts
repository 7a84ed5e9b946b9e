// Layers of containers that come to nothing, while the kubelet removes others.
import t, { type Test } from 'tap';
import type { ContainerId } from '../../../agent/model/ids.ts';
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

for (const state of ['exited', 'created'] as const) {
  t.test(`a layer does not go back to a container that is being removed (${state})`, async (t) => {
    const node = await open(t);
    const first = await createContainer(node, 0);
    await node.write(first, 'data');
    node.setState(first, 'exited');
    const second = await createContainer(node, 1);
    t.strictSame(await node.read(second), ['data']);
    await node.feature.containerRemoving?.(node.step(first, state));
    await node.restartAgent();
    // The runtime is still at it when the creation of the second is given up.
    await node.feature.containerRemoving?.(node.step(second, 'created'));
    t.strictSame(await node.read(first), []);
    await node.runtime.removeContainer(first, NEVER);
    await node.runtime.removeContainer(second, NEVER);
    t.strictSame(await node.read(await createContainer(node, 1)), ['data']);
  });
}

t.test('a layer does go back to a container that stays', async (t) => {
  const node = await open(t);
  const first = await createContainer(node, 0);
  await node.write(first, 'data');
  node.setState(first, 'exited');
  const second = await createContainer(node, 1);
  await node.feature.containerAbandoned?.(node.step(second, 'created'));
  await node.runtime.removeContainer(second, NEVER);
  t.strictSame(await node.read(first), ['data']);
});
