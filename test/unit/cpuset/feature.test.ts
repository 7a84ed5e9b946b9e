// The lifecycle steps, from what they answer to what containers are left with.
import { mkdirSync, rmSync } from 'node:fs';
import t, { type Test } from 'tap';
import { CpuSet } from '../../../agent/model/cpu-set.ts';
import type { HostTopology } from '../../../agent/model/host-topology.ts';
import { podUid, sandboxId } from '../../../agent/model/ids.ts';
import type { ContainerSpec } from '../../../agent/model/pod.ts';
import { bytes, milliCpu } from '../../../agent/model/quantity.ts';
import { cgroupFiles } from '../../support/cgroup-files.ts';
import { CpusetNode, makeNeed, type NodeOptions, signal } from '../../support/cpuset-node.ts';
import { fakeContainer, fakeSandbox } from '../../support/fake-runtime.ts';
import { evenHost, GIB } from '../../support/hand-made-hosts.ts';

const MIB = 1024 ** 2;
const EXCLUSIVE = { cpuset: 'exclusive' } as const;
const REQUIRED = { numa: 'required' } as const;

async function startNode(
  t: Test,
  topology: HostTopology,
  { cgroupVersion = 2, ...more }: Partial<NodeOptions> & { readonly cgroupVersion?: 1 | 2 } = {},
): Promise<CpusetNode> {
  const node = new CpusetNode({ host: cgroupFiles(t.testdir(), cgroupVersion), topology, ...more });
  await node.start();
  t.teardown(() => node.feature.close());
  return node;
}

async function counted(node: CpusetNode, name: string): Promise<number> {
  const metric = await node.registry.getSingleMetric(name)?.get();
  return metric?.values.reduce((sum, { value }) => sum + value, 0) ?? 0;
}

function specOf(name: string, kind: ContainerSpec['kind'], cpus: number, memory?: number): ContainerSpec {
  return { name, kind, ...makeNeed(cpus, memory) };
}

for (const cgroupVersion of [1, 2] as const) {
  await t.test(`neighbours leave exclusive CPUs before their owner starts (cgroup v${cgroupVersion})`, async (t) => {
    const node = await startNode(t, evenHost(1, 4, 1), { cgroupVersion });
    await node.runPod({ uid: 'a' });
    const neighbour = await node.run('a', 'app', makeNeed(1));
    t.equal(node.cpusOf(neighbour), '0-3');

    await node.runPod({ uid: 'b', policy: EXCLUSIVE });
    const owner = await node.create('b', 'app', makeNeed(2));
    t.match(node.contributions.get('b/app'), { cpusetCpus: CpuSet.of(0, 1), cpuQuota: -1 });
    await node.created('b', 'app', makeNeed(2));
    t.equal(node.cpusOf(neighbour), '2-3', 'before containerCreated is answered');
    t.equal(node.masks.at(-1), '2-3', 'and so is the mask for when the agent is away');
    t.notOk(node.runtime.log.includes(`update ${neighbour} 2-3 -`), 'the runtime is told afterwards');
    await node.feature.idle();
    t.ok(node.runtime.log.includes(`update ${neighbour} 2-3 -`));
    await node.launch(owner);
    await node.started(owner);
    t.equal(node.cpusOf(owner), '0-1');

    await node.endPod('b');
    await node.feature.idle();
    t.equal(node.cpusOf(neighbour), '0-3', 'the pool grows back');
    t.equal(node.masks.at(-1), '0-3');
    t.equal(node.runtime.log.at(-1), `update ${neighbour} 0-3 -`);
  });
}

await t.test('a pool that changed since containerCreating reaches the spec before the start', async (t) => {
  const node = await startNode(t, evenHost(1, 4, 1));
  await node.runPod({ uid: 'a' });
  const late = await node.create('a', 'app', makeNeed(1));
  await node.runPod({ uid: 'b', policy: EXCLUSIVE });
  await node.run('b', 'app', makeNeed(2));
  await node.created('a', 'app', makeNeed(1));
  await node.launch(late);
  t.equal(node.cpusOf(late), '2-3');
});

await t.test('containers that are created and not started have their spec edited', async (t) => {
  const node = await startNode(t, evenHost(1, 4, 1));
  await node.runPod({ uid: 'a' });
  const waiting = await node.create('a', 'app', makeNeed(1));
  await node.created('a', 'app', makeNeed(1));
  await node.runPod({ uid: 'b', policy: EXCLUSIVE });
  await node.run('b', 'app', makeNeed(2));
  await node.launch(waiting);
  t.equal(node.cpusOf(waiting), '2-3');
});

await t.test('a start with an old spec is put right', async (t) => {
  const node = await startNode(t, evenHost(1, 4, 1));
  await node.runPod({ uid: 'a' });
  const id = await node.create('a', 'app', makeNeed(1));
  await node.created('a', 'app', makeNeed(1));
  node.specs.set(id, {});
  await node.runPod({ uid: 'b', policy: EXCLUSIVE });
  await node.create('b', 'app', makeNeed(1));
  await node.feature.idle();
  node.specs.set(id, {});
  await node.launch(id);
  t.equal(node.cpusOf(id), '0-3');
  await node.started(id);
  t.equal(node.cpusOf(id), '1-3');
});

await t.test('without a way to specs the runtime is told instead', async (t) => {
  const node = await startNode(t, evenHost(1, 4, 1));
  Object.assign(node.runtime, { specs: undefined });
  await node.start();
  await node.runPod({ uid: 'a' });
  const id = await node.create('a', 'app', makeNeed(1));
  await node.created('a', 'app', makeNeed(1));
  await node.runPod({ uid: 'b', policy: EXCLUSIVE });
  await node.run('b', 'app', makeNeed(2));
  t.ok(node.runtime.log.includes(`update ${id} 2-3 -`));
});

await t.test('an exclusive container is not throttled, and stays so', async (t) => {
  const node = await startNode(t, evenHost(1, 4, 1));
  await node.runPod({ uid: 'b', policy: EXCLUSIVE });
  const id = await node.create('b', 'app', makeNeed(2));
  await node.created('b', 'app', makeNeed(2));
  await node.launch(id);
  node.write(id, 'cpu.max', '200000 100000');
  node.write(id, '../cpu.max', '200000 100000');
  await node.started(id);
  t.equal(node.read(id, 'cpu.max'), 'max');
  t.equal(node.read(id, '../cpu.max'), 'max');
  t.equal(await counted(node, 'holdfast_cpuset_repairs_total'), 0, 'the first time is no repair');
  node.write(id, '../cpu.max', '200000 100000');
  await node.feature.reconcile(signal());
  t.equal(node.read(id, '../cpu.max'), 'max');
  t.equal(await counted(node, 'holdfast_cpuset_repairs_total'), 1);
});

await t.test('exclusive CPUs are whole and their number is the limit', async (t) => {
  const node = await startNode(t, evenHost(1, 4, 1));
  await node.runPod({ uid: 'b', policy: EXCLUSIVE });
  for (const [need, message] of [
    [makeNeed(1.5), /its CPU limit is 1.5/],
    [makeNeed(undefined), /it has no CPU limit/],
    [{ ...makeNeed(2), cpuRequest: milliCpu(1000) }, /limit is 2 and its CPU request is 1/],
  ] as const) {
    await t.rejects(node.create('b', 'app', need), { code: 'INVALID_REQUEST', message });
  }
  await t.rejects(node.runPod({ uid: 'c', policy: EXCLUSIVE, spec: [specOf('app', 'app', 0.5)] }), {
    code: 'INVALID_REQUEST',
  });
  t.equal(await counted(node, 'holdfast_cpuset_refusals_total'), 4);
});

await t.test('a pod is refused before its sandbox is made, with each node and what it lacks', async (t) => {
  const node = await startNode(t, evenHost(2, 2, 1, { memoryBytes: 4 * GIB }));
  await node.runPod({ uid: 'a', policy: { ...EXCLUSIVE, ...REQUIRED }, spec: [specOf('app', 'app', 1, GIB)] });
  const spec = [specOf('app', 'app', 2, 3 * GIB), specOf('side', 'sidecar', 0, 0)];
  await t.rejects(
    node.runPod({ uid: 'b', policy: { ...EXCLUSIVE, ...REQUIRED }, containers: { side: { cpuset: 'shared' } }, spec }),
    {
      code: 'NO_ROOM',
      message:
        /^pod default\/pod-b: 2 exclusive CPUs and 3 GiB of memory must come .*node 0: 1 of 2 CPUs free; node 1: no CPU left for its shared pool$/,
    },
  );
  t.strictSame(
    node.feature.pods().map(({ uid }) => uid),
    ['a'],
    'nothing is kept for it',
  );
});

await t.test('what the disk refuses never happened', async (t) => {
  const node = await startNode(t, evenHost(1, 4, 1));
  node.store.failure = new Error('disk full');
  await t.rejects(node.runPod({ uid: 'a', policy: EXCLUSIVE, spec: [specOf('app', 'app', 3)] }), /disk full/);
  t.equal(node.feature.pods().length, 0);
  await node.runPod({ uid: 'b', policy: EXCLUSIVE, spec: [specOf('app', 'app', 3)] });
  await node.feature.idle();
  t.equal(node.masks.at(-1), '3');
});

await t.test('a pod is placed as a whole: init containers use the CPUs of those that follow', async (t) => {
  const node = await startNode(t, evenHost(2, 4, 2, { memoryBytes: 8 * GIB }), { reservedCpus: CpuSet.of(0) });
  const spec = [
    specOf('init', 'init', 3, GIB),
    specOf('proxy', 'sidecar', 1, GIB),
    specOf('app', 'app', 2, 2 * GIB),
    specOf('log', 'app', 0.5, GIB),
  ];
  const policy = { ...EXCLUSIVE, ...REQUIRED };
  await node.runPod({ uid: 'a', policy, containers: { log: { cpuset: 'shared' } }, spec });
  await node.create('a', 'init', makeNeed(3, GIB));
  await node.create('a', 'proxy', makeNeed(1, GIB));
  await node.create('a', 'app', makeNeed(2, 2 * GIB));
  await node.create('a', 'log', makeNeed(0.5, GIB));
  const cpus = (name: string): CpuSet => node.contributions.get(`a/${name}`)?.cpusetCpus ?? CpuSet.EMPTY;
  t.equal(cpus('init').union(cpus('proxy')).union(cpus('app')).size, 4, 'not six');
  t.notOk(cpus('init').overlaps(cpus('proxy')), 'they run at the same time');
  t.ok(cpus('app').isSubsetOf(cpus('init')));
  t.equal(cpus('log').toString(), '0-1,6-7', "the shared pool of the pod's node");
  for (const name of ['init', 'proxy', 'app', 'log']) {
    t.equal(String(node.contributions.get(`a/${name}`)?.cpusetMems), '0', name);
  }
  t.equal(node.feature.view().nodes.get(0)?.memoryAvailableBytes, 4 * GIB);
});

await t.test('without PodSource the sums of the sandbox decide, or the first container', async (t) => {
  const node = await startNode(t, evenHost(2, 4, 1, { memoryBytes: 8 * GIB }));
  const policy = { ...EXCLUSIVE, ...REQUIRED };
  await node.runPod({ uid: 'sums', policy, sums: makeNeed(3, 2 * GIB) });
  t.equal(node.feature.view().nodes.get(0)?.freeCpus.toString(), '3', 'all three are kept at once');
  await node.create('sums', 'x', makeNeed(1, GIB));
  await node.create('sums', 'y', makeNeed(2, GIB));
  t.equal(node.feature.view().nodes.get(0)?.freeCpus.toString(), '3');

  await node.runPod({ uid: 'first', policy });
  t.equal(node.feature.view().nodes.get(1)?.freeCpus.toString(), '4-7', 'nothing is known yet');
  await node.create('first', 'x', makeNeed(2, GIB));
  await node.create('first', 'y', makeNeed(1, GIB));
  t.equal(node.contributions.get('first/x')?.cpusetCpus?.toString(), '4-5');
  t.equal(node.contributions.get('first/y')?.cpusetCpus?.toString(), '6', 'follows');
  await t.rejects(node.create('first', 'z', makeNeed(2, GIB)), {
    code: 'NO_ROOM',
    message: /the NUMA node of its pod has no room: node 1: 1 of 2 CPUs free/,
  });
});

await t.test('where nobody says how much memory is needed only CPUs are placed', async (t) => {
  const node = await startNode(t, evenHost(2, 4, 1));
  await node.runPod({ uid: 'a', policy: REQUIRED, spec: [{ name: 'app', kind: 'app', ...makeNeed(1) }] });
  await node.create('a', 'app', makeNeed(1));
  t.equal(node.contributions.get('a/app')?.cpusetMems, undefined);
  t.equal(node.contributions.get('a/app')?.cpusetCpus?.toString(), '0-3');
  t.match(
    node.feature.status().map(({ text }) => text),
    [/./, /./, /./, /default\/pod-a: its memory need is not known/],
  );
});

await t.test('a container may be bound alone', async (t) => {
  const node = await startNode(t, evenHost(2, 2, 1, { memoryBytes: 4 * GIB }));
  const spec = [specOf('db', 'app', 1, 3 * GIB), specOf('web', 'app', 1, 3 * GIB)];
  await node.runPod({ uid: 'a', containers: { db: { ...REQUIRED, ...EXCLUSIVE } }, spec });
  await node.create('a', 'db', makeNeed(1, 3 * GIB));
  await node.create('a', 'web', makeNeed(1, 3 * GIB));
  t.match(node.contributions.get('a/db'), { cpusetCpus: CpuSet.of(0), cpusetMems: CpuSet.of(0) });
  t.equal(node.contributions.get('a/web')?.cpusetMems, undefined);
  t.equal(node.contributions.get('a/web')?.cpusetCpus?.toString(), '1-3');
});

await t.test(
  'an attempt that follows another keeps its CPUs, also after the agent and the sandbox were made again',
  async (t) => {
    const node = await startNode(t, evenHost(1, 8, 1));
    await node.runPod({ uid: 'z', policy: EXCLUSIVE });
    await node.run('z', 'app', makeNeed(1));
    await node.runPod({ uid: 'a', policy: EXCLUSIVE });
    await node.exit(await node.run('a', 'app', makeNeed(2)));
    await node.endPod('z');
    t.equal(node.contributions.get('a/app')?.cpusetCpus?.toString(), '1-2');
    await node.run('a', 'app', makeNeed(2), 1);
    t.equal(node.contributions.get('a/app')?.cpusetCpus?.toString(), '1-2');
    await node.start();
    await node.runPod({ uid: 'a', policy: EXCLUSIVE });
    await node.run('a', 'app', makeNeed(2), 2);
    t.equal(node.contributions.get('a/app')?.cpusetCpus?.toString(), '1-2');
  },
);

await t.test('a pod that asks for something else in its next sandbox is planned again', async (t) => {
  const node = await startNode(t, evenHost(1, 8, 1));
  await node.runPod({ uid: 'a', policy: EXCLUSIVE, spec: [specOf('app', 'app', 2)] });
  await node.runPod({ uid: 'a', policy: EXCLUSIVE, spec: [specOf('app', 'app', 4)] });
  t.equal(node.feature.view().nodes.get(0)?.freeCpus.size, 4);
  await node.runPod({ uid: 'a', spec: [specOf('app', 'app', 4)] });
  t.equal(node.feature.view().nodes.get(0)?.freeCpus.size, 8);
});

await t.test('drift is found, put right and counted', async (t) => {
  const node = await startNode(t, evenHost(2, 2, 1));
  await node.runPod({ uid: 'a', policy: { ...EXCLUSIVE, ...REQUIRED }, spec: [specOf('app', 'app', 1, GIB)] });
  const owner = await node.run('a', 'app', makeNeed(1, GIB));
  await node.runPod({ uid: 'b' });
  const neighbour = await node.run('b', 'app', makeNeed(1));
  node.write(owner, 'cpuset.cpus', '3');
  node.write(owner, 'cpuset.mems', '1');
  node.write(neighbour, 'cpuset.cpus', '0-3');
  await node.feature.reconcile(signal());
  t.equal(node.cpusOf(owner), '0');
  t.equal(node.read(owner, 'cpuset.mems'), '0');
  t.equal(node.cpusOf(neighbour), '1-3');
  t.equal(await counted(node, 'holdfast_cpuset_repairs_total'), 2);
  t.match(node.logs.join(''), /put back CPUs that something else changed/);
});

await t.test('containers made without us are shared ones; those of others are left alone', async (t) => {
  const node = await startNode(t, evenHost(1, 4, 1));
  const foreign = node.addContainer('foreign', 'app');
  await node.launch(foreign);
  node.runtime.sandboxes.set('s-other', fakeSandbox('s-other', ''));
  const other = fakeContainer('c-other', fakeSandbox('s-other', ''), 'app');
  node.runtime.containers.set('c-other', other);
  await node.launch(other.id);
  await node.runPod({ uid: 'b', policy: EXCLUSIVE });
  await node.feature.reconcile(signal());
  await node.run('b', 'app', makeNeed(2));
  t.equal(node.cpusOf(foreign), '2-3');
  t.equal(node.cpusOf(other.id), '0-3');
  await node.feature.idle();
  t.ok(node.runtime.log.includes(`update ${foreign} 2-3 -`));
});

await t.test('a neighbour that cannot be moved keeps the owner from starting', async (t) => {
  const node = await startNode(t, evenHost(1, 4, 1));
  const stray = node.addContainer('stray', 'app');
  await node.launch(stray);
  await node.feature.reconcile(signal());
  // Nothing of ours can write a cgroup file that is a directory.
  const path = `${t.testdirName}/cgroup/kubepods/podstray/${stray}/cpuset.cpus`;
  rmSync(path);
  mkdirSync(path);
  await node.runPod({ uid: 'b', policy: EXCLUSIVE });
  await node.create('b', 'app', makeNeed(2));
  await t.rejects(node.created('b', 'app', makeNeed(2)), {
    code: 'HOST_FAILURE',
    message: /CPUs 0-1 are not free yet: 1 other containers could not be moved off them \(default\/pod-stray\/app/,
  });
  t.match(node.feature.status().find(({ level }) => level === 'failed')?.text, /default\/pod-stray\/app/);
  await node.exit(stray);
  await node.created('b', 'app', makeNeed(2));
});

await t.test('our cpuset wins over the one in an update', async (t) => {
  const node = await startNode(t, evenHost(2, 4, 1));
  await node.runPod({ uid: 'a', policy: { ...EXCLUSIVE, ...REQUIRED }, spec: [specOf('app', 'app', 2, GIB)] });
  const owner = await node.run('a', 'app', makeNeed(2, GIB));
  await node.runPod({ uid: 'b' });
  const neighbour = await node.run('b', 'app', makeNeed(1));
  const step = (uid: string, id: typeof owner) => ({
    pod: node.pod(uid),
    container: {
      ...(node.runtime.containers.get(id) ?? fakeContainer('x', fakeSandbox('x', uid), 'app')),
      sandboxId: sandboxId(`s-${uid}`),
      policy: node.pod(uid).policy,
    },
    requestedCpus: '0-7',
    signal: signal(),
  });
  t.strictSame(await node.feature.containerUpdating({ ...step('a', owner), need: makeNeed(undefined, 2 * GIB) }), {
    cpusetCpus: CpuSet.of(0, 1),
    cpusetMems: CpuSet.of(0),
    cpuQuota: -1,
  });
  t.strictSame(await node.feature.containerUpdating({ ...step('b', neighbour), need: makeNeed(3) }), {
    cpusetCpus: CpuSet.of(2, 3, 4, 5, 6, 7),
  });
  await t.rejects(node.feature.containerUpdating({ ...step('a', owner), need: makeNeed(3) }), {
    code: 'PRECONDITION',
    message: /owns 2 CPUs \(0-1\) and cannot have 3 while it runs/,
  });
});

await t.test('a debug container of an exclusive pod is a shared one', async (t) => {
  const node = await startNode(t, evenHost(1, 4, 1));
  await node.runPod({ uid: 'a', policy: EXCLUSIVE, spec: [specOf('app', 'app', 2)] });
  await node.create('a', 'debugger', makeNeed(undefined));
  t.equal(node.contributions.get('a/debugger')?.cpusetCpus?.toString(), '2-3');
  t.equal(node.contributions.get('a/debugger')?.cpuQuota, undefined);
});

await t.test('an agent that was started between two steps reads what it had sent from the container', async (t) => {
  const node = await startNode(t, evenHost(1, 4, 1));
  await node.runPod({ uid: 'a', policy: { ...EXCLUSIVE, ...REQUIRED }, spec: [specOf('app', 'app', 2, GIB)] });
  const id = await node.create('a', 'app', makeNeed(2, GIB));
  await node.start();
  await node.created('a', 'app', makeNeed(2, GIB));
  await node.launch(id);
  await node.start();
  await node.started(id);
  t.equal(node.cpusOf(id), '0-1');
  node.write(id, 'cpuset.mems', '');
  await node.feature.reconcile(signal());
  t.equal(node.read(id, 'cpuset.mems'), '0', 'its memory nodes are known still');
});

await t.test('what schedulers see', async (t) => {
  const node = await startNode(t, evenHost(2, 2, 2, { memoryBytes: 4 * GIB }), { reservedCpus: CpuSet.of(0) });
  await node.runPod({ uid: 'a', policy: { ...EXCLUSIVE, ...REQUIRED }, spec: [specOf('app', 'app', 2, GIB)] });
  await node.run('a', 'app', makeNeed(2, GIB));
  await node.runPod({ uid: 'b' });
  await node.run('b', 'web', makeNeed(1, GIB));
  const view = node.feature.view();
  t.equal(view.reservedCpus.toString(), '0');
  t.match(view.nodes.get(0), {
    allocatableCpus: CpuSet.of(1, 2, 3),
    freeCpus: CpuSet.of(1),
    sharedCpus: CpuSet.of(0, 1),
    memoryAvailableBytes: 2.5 * GIB,
  });
  t.match(node.feature.allocations(), {
    pods: [
      {
        uid: 'a',
        namespace: 'default',
        name: 'pod-a',
        numa: 'required',
        numaNodes: '0',
        memoryBytes: BigInt(GIB),
        containers: [{ name: 'app', cpuset: 'exclusive', cpus: '2-3', mems: '0' }],
        nodeShares: [{ node: 0, memoryBytes: BigInt(GIB) }],
      },
      {
        uid: 'b',
        numaNodes: '',
        containers: [{ name: 'web', cpuset: 'shared', cpus: '0-1,4-7', mems: '' }],
      },
    ],
  });
});

await t.test('memory and huge pages that were promised are told node by node', async (t) => {
  const node = await startNode(t, evenHost(2, 2, 2, { memoryBytes: 4 * GIB, hugepages: 64 }));
  const hugepages = new Map([[bytes(2 * MIB), bytes(8 * MIB)]]);
  await node.runPod({ uid: 'a', policy: REQUIRED, spec: [{ ...specOf('app', 'app', 0.5, GIB), hugepages }] });
  t.match(node.feature.allocations(), {
    pods: [
      {
        memoryBytes: BigInt(GIB),
        nodeShares: [
          {
            node: 0,
            memoryBytes: BigInt(GIB),
            hugepages: [{ pageSizeBytes: BigInt(2 * MIB), bytes: BigInt(8 * MIB) }],
          },
        ],
      },
    ],
  });
});

await t.test('CPUs that the host lost', async (t) => {
  const node = await startNode(t, evenHost(1, 4, 1));
  await node.runPod({ uid: 'a', policy: EXCLUSIVE });
  await node.run('a', 'app', makeNeed(2));
  const host = evenHost(1, 4, 1);
  await node.feature.topologyChanged({ ...host, usableCpus: CpuSet.of(0, 2, 3) });
  await node.feature.idle();
  t.equal(node.masks.at(-1), '2-3');
  t.match(
    node.feature
      .status()
      .map(({ text }) => text)
      .join('\n'),
    /pod-a owns CPUs 0-1, some of which are now reserved, isolated or offline/,
  );
  await node.create('a', 'app', makeNeed(2), 1);
  t.equal(node.contributions.get('a/app')?.cpusetCpus?.toString(), '0,2');
});

await t.test('holdings of pods without containers end too', async (t) => {
  const node = await startNode(t, evenHost(1, 4, 1));
  await node.runPod({ uid: 'a', policy: EXCLUSIVE, spec: [specOf('app', 'app', 2)] });
  t.strictSame(node.feature.pods(), [{ uid: podUid('a'), namespace: 'default', name: 'pod-a' }]);
  await node.endPod('a');
  await node.endPod('a');
  t.strictSame(node.feature.pods(), []);
});

await t.test('a mask that cannot be published keeps owners from starting, and nothing else', async (t) => {
  const node = await startNode(t, evenHost(1, 4, 1));
  await node.runPod({ uid: 'a' });
  const neighbour = await node.run('a', 'app', makeNeed(1));
  node.maskFailure = new Error('read-only file system');
  await node.runPod({ uid: 'b', policy: EXCLUSIVE });
  await node.create('b', 'app', makeNeed(1));
  await t.rejects(node.created('b', 'app', makeNeed(1)), /read-only file system/);
  node.write(neighbour, 'cpuset.cpus', '0-3');
  await node.feature.reconcile(signal());
  t.equal(node.cpusOf(neighbour), '1-3', 'drift is repaired all the same');
  t.match(node.logs.join(''), /the shared CPU mask could not be published/);
  node.maskFailure = undefined;
  await node.created('b', 'app', makeNeed(1));
  t.equal(node.masks.at(-1), '1-3');
});

await t.test('a full disk does not keep containers from being removed', async (t) => {
  const node = await startNode(t, evenHost(1, 4, 1));
  await node.runPod({ uid: 'a' });
  const id = await node.run('a', 'app', makeNeed(1));
  await node.runPod({ uid: 'b', policy: EXCLUSIVE });
  await node.run('b', 'app', makeNeed(2));
  await node.feature.idle();
  const told = node.store.tables.get('cpuset-told');
  t.ok(told?.has(id), 'it has a record');
  await node.exit(id);
  const listed = node.runtime.containers.get(id) ?? fakeContainer(id, fakeSandbox('s-a', 'a'), 'app');
  const step = { pod: node.pod('a'), container: { ...listed, policy: node.pod('a').policy }, signal: signal() };
  node.store.failure = new Error('disk full');
  await node.feature.containerRemoving(step);
  t.equal(node.store.failure, undefined, 'the disk was asked');
  node.runtime.containers.delete(id);
  t.match(node.logs.join(''), /"error":"disk full".*records of removed containers could not be deleted/);
  t.ok(told?.has(id));
  await node.feature.reconcile(signal());
  t.notOk(told?.has(id), 'reconciling deletes what was left');
});
