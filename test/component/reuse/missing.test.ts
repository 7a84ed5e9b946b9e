// Layers on record that the runtime does not know: one was removed, but when it is all of several, another runtime answers.
import t, { type Test } from 'tap';
import { podUid } from '../../../agent/model/ids.ts';
import { type ContainerLayers, LAYERS, layerKey } from '../../../agent/reuse/layer.ts';
import type { LayerStore } from '../../../agent/runtime/runtime.ts';
import { put } from '../../../agent/state/store.ts';
import { FakeNode } from './fake-node.ts';

const NEVER = new AbortController().signal;

function kept(uid: string): ContainerLayers {
  const snapshot = { snapshotter: 'overlayfs', key: `snapshot-${uid}` };
  const holder = { kind: 'kept', lease: `lease-${uid}`, since: 1 } as const;
  const current = { snapshot, parent: 'one', image: 'one', holder, createdAt: 1, handovers: 0 };
  const names = { podUid: podUid(uid), namespace: 'default', pod: `pod-${uid}`, container: 'app' };
  return { ...names, current, fastFailures: 0, resetRequested: false };
}

/** A node whose records are of layers that the runtime does not know. */
async function open(t: Test, ...uids: readonly string[]): Promise<FakeNode> {
  const node = await FakeNode.open();
  t.teardown(() => node.close());
  await node.store.commit(uids.map((uid) => put(LAYERS, layerKey(kept(uid)), kept(uid))));
  await node.restartAgent();
  return node;
}

function layersOf(node: FakeNode): LayerStore {
  if (node.runtime.layers === undefined) throw new Error('the runtime has layers');
  return node.runtime.layers;
}

const pods = (node: FakeNode): readonly string[] => node.feature.admin.list().layers.map(({ podUid: uid }) => uid);
const warnings = (node: FakeNode): number =>
  (node.feature.status?.() ?? []).filter(({ text }) => text.includes('another runtime')).length;

t.test('all of several are missing: the records stay, and it is said once', async (t) => {
  const node = await open(t, 'a', 'b');
  t.strictSame(pods(node), ['a', 'b']);
  await node.feature.reconcile?.(NEVER);
  await node.feature.reconcile?.(NEVER);
  t.strictSame(pods(node), ['a', 'b']);
  t.equal(warnings(node), 1);
});

t.test('one of them is there: it is the right runtime, and the other is written off', async (t) => {
  const node = await open(t, 'a', 'b');
  const layers = layersOf(node);
  const parentOf = layers.parentOf.bind(layers);
  layers.parentOf = async (snapshot, signal) =>
    snapshot.key === 'snapshot-b' ? 'one' : await parentOf(snapshot, signal);
  await node.feature.reconcile?.(NEVER);
  t.strictSame(pods(node), ['b']);
});

t.test('a single one that is missing was removed', async (t) => {
  const node = await open(t, 'a');
  t.strictSame(pods(node), []);
  t.equal(warnings(node), 0);
});
