// What is done on schedules: the quick part does not stand behind the slow one.
import t, { type Test } from 'tap';
import type { ContainerId } from '../../../agent/model/ids.ts';
import { bytes } from '../../../agent/model/quantity.ts';
import type { ReuseParts } from '../../../agent/reuse/feature.ts';
import type { LayerStore } from '../../../agent/runtime/runtime.ts';
import { FakeNode } from './fake-node.ts';

const NEVER = new AbortController().signal;

async function open(t: Test, options: Partial<ReuseParts['options']> = {}): Promise<FakeNode> {
  const node = await FakeNode.open(options);
  t.teardown(() => node.close());
  return node;
}

function layersOf(node: FakeNode): LayerStore {
  if (node.runtime.layers === undefined) throw new Error('the runtime has layers');
  return node.runtime.layers;
}

async function createContainer(node: FakeNode, attempt: number): Promise<ContainerId> {
  await node.feature.containerCreating?.(node.creating(attempt, 'one'));
  const id = await node.createAtRuntime(attempt, 'one');
  await node.feature.containerCreated?.({ ...node.creating(attempt, 'one'), containerId: id });
  return id;
}

async function keepLayer(node: FakeNode): Promise<ContainerId> {
  const id = await createContainer(node, 0);
  await node.write(id, 'data');
  node.setState(id, 'exited');
  await node.feature.containerRemoving?.(node.step(id, 'exited'));
  await node.runtime.removeContainer(id, NEVER);
  return id;
}

t.test('a snapshotter that does not answer holds up measuring, and nothing else', async (t) => {
  const node = await open(t, { budgetBytes: 0, measureIntervalMs: 0 });
  await keepLayer(node);
  let answer = (): void => {};
  const asked = new Promise<void>((resolve) => {
    layersOf(node).usageOf = () => {
      resolve();
      return new Promise((answered) => {
        answer = () => answered({ size: bytes(5), inodes: 1 });
      });
    };
  });
  await node.feature.reconcile?.(NEVER);
  const measuring = node.feature.measure(NEVER);
  await asked;
  await node.feature.reconcile?.(NEVER);
  t.match(node.feature.admin.list().layers, [{ state: 'kept' }]);
  answer();
  await measuring;
  t.strictSame(node.feature.admin.list().layers, [], 'then it is known to exceed the budget');
  t.strictSame(node.leases(), [], 'and removed');
});

t.test('a node that was off for long: its pods have time to come back for their layers', async (t) => {
  const node = await open(t, { maxAgeMs: 1000 });
  await keepLayer(node);
  node.pass(5000);
  await node.restartAgent();
  await node.feature.measure(NEVER);
  t.match(node.feature.admin.list().layers, [{ state: 'kept' }]);
  node.pass(5000);
  await node.feature.measure(NEVER);
  t.strictSame(node.feature.admin.list().layers, []);
});
