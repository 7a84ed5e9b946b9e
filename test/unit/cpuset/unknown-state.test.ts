// Neighbours that the runtime has lost sight of (CRI state `unknown`): their processes may live, on CPUs that are about
// to get an owner.
import t, { type Test } from 'tap';
import type { ContainerId } from '../../../agent/model/ids.ts';
import { cgroupFiles } from '../../support/cgroup-files.ts';
import { CpusetNode, makeNeed, signal } from '../../support/cpuset-node.ts';
import { evenHost } from '../../support/hand-made-hosts.ts';

const EXCLUSIVE = { cpuset: 'exclusive' } as const;

/** An agent that finds a running container whose state the runtime does not know. */
async function prepare(
  t: Test,
  { findable }: { readonly findable: boolean },
): Promise<{ readonly node: CpusetNode; readonly lost: ContainerId }> {
  const node = new CpusetNode({ host: cgroupFiles(t.testdir()), topology: evenHost(1, 4, 1) });
  const lost = node.addContainer('lost', 'app', {
    // Elsewhere when it was created: that is no proof that it is there now.
    annotations: { 'internal.holdfast.dev/cpus': '3' },
  });
  await node.launch(lost);
  setState(node, lost, 'unknown');
  if (!findable) {
    Object.assign(node.runtime, { processId: async () => undefined, processIds: async () => new Map() });
  }
  await node.start();
  t.teardown(() => node.feature.close());
  await node.runPod({ uid: 'b', policy: EXCLUSIVE });
  await node.create('b', 'app', makeNeed(2));
  return { node, lost };
}

function setState(node: CpusetNode, id: ContainerId, state: 'unknown' | 'exited'): void {
  const listed = node.runtime.containers.get(id);
  if (listed === undefined) throw new Error(`no container ${id}`);
  node.runtime.containers.set(id, { ...listed, state });
}

await t.test('one whose process is known is moved', async (t) => {
  const { node, lost } = await prepare(t, { findable: true });
  await node.created('b', 'app', makeNeed(2));
  t.equal(node.cpusOf(lost), '2-3');
  await node.exit(lost);
  setState(node, lost, 'unknown');
  await node.endPod('b');
  await node.feature.reconcile(signal());
  t.strictSame(
    node.feature.status().filter(({ level }) => level === 'failed'),
    [],
    'its cgroup is gone, and it with it',
  );
});

await t.test('one that cannot be found keeps the owner from starting', async (t) => {
  const { node, lost } = await prepare(t, { findable: false });
  const refusal = {
    code: 'HOST_FAILURE',
    message: /CPUs 0-1 are not free yet: 1 other containers could not be moved off them \(default\/pod-lost\/app/,
  };
  await t.rejects(node.created('b', 'app', makeNeed(2)), refusal);
  t.match(
    node.feature.status().find(({ level }) => level === 'failed')?.text,
    /default\/pod-lost\/app .*does not know whether container c-lost-app-0 still runs/,
  );
  setState(node, lost, 'exited');
  await node.created('b', 'app', makeNeed(2));
});

await t.test('one that is being removed is not forgotten before it is gone', async (t) => {
  const { node, lost } = await prepare(t, { findable: false });
  await node.runPod({ uid: 'lost' });
  const listed = node.runtime.containers.get(lost);
  if (listed === undefined) throw new Error('no container');
  const { policy } = node.pod('lost');
  await node.feature.containerRemoving({
    pod: node.pod('lost'),
    container: { ...listed, policy },
    signal: signal(),
  });
  await t.rejects(node.created('b', 'app', makeNeed(2)), { code: 'HOST_FAILURE' });
  node.runtime.containers.delete(lost);
  await node.created('b', 'app', makeNeed(2));
});
