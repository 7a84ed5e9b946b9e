// The answers to the scheduler, one after the other and at a time: nodes are states that were never served by anybody.
import t from 'tap';
import { Ledger } from '../../../agent/cpuset/ledger.ts';
import { buildMachine } from '../../../agent/cpuset/machine.ts';
import { planPod } from '../../../agent/cpuset/plan-pod.ts';
import { CpuSet } from '../../../agent/model/cpu-set.ts';
import { podUid } from '../../../agent/model/ids.ts';
import { bytes, milliCpu } from '../../../agent/model/quantity.ts';
import { readClusterPod } from '../../../extender/discovery/cluster-pod.ts';
import { Machines } from '../../../extender/planning/machines.ts';
import type { PodAsk } from '../../../extender/planning/plan-ask.ts';
import { type HostState, planHost } from '../../../extender/planning/plan-host.ts';
import { Fleet } from '../../../extender/scheduling/fleet.ts';
import { InFlight } from '../../../extender/scheduling/in-flight.ts';
import { Scheduling } from '../../../extender/scheduling/scheduling.ts';
import { evenHost, GIB } from '../../support/hand-made-hosts.ts';
import { NO_POLICY_RULES, publish } from '../../support/published-host.ts';
import { exclusivePod, podFacts, REQUIRED_EXCLUSIVE } from '../../support/random-pods.ts';
import { PLAN_RULES } from '../../support/topology-agent.ts';

const NEVER = new AbortController().signal;
const MINUTE_MS = 60_000;

/** One NUMA node of `cpus` CPUs, of which the first is the pool's, with these pods on it. */
function nodeOf(cpus: number, ...pods: readonly PodAsk[]): HostState {
  const ledger = new Ledger(buildMachine(evenHost(1, cpus, 1), CpuSet.of(0)), PLAN_RULES);
  for (const { identity, need } of pods) {
    const plan = planPod(ledger.room, identity, need);
    if (plan.ok) ledger.set(plan.holding);
  }
  const { topology, allocations } = publish(ledger);
  return planHost(topology, allocations, new Machines(), PLAN_RULES);
}

function pod(name: string, cpus: number, annotations: Readonly<Record<string, string>> = REQUIRED_EXCLUSIVE) {
  const cpu = milliCpu(cpus * 1000);
  return podFacts(name, annotations, { cpuLimit: cpu, cpuRequest: cpu, memoryRequest: bytes(GIB) });
}

/** As the API tells of a pod with CPUs of its own that is bound to `n`. */
function bound(name: string, cpus: number, { phase = 'Running', mirrorOf = '' } = {}) {
  const mirror = mirrorOf === '' ? {} : { 'kubernetes.io/config.mirror': mirrorOf };
  return readClusterPod({
    metadata: {
      uid: name,
      name,
      namespace: 'default',
      resourceVersion: '1',
      annotations: { ...REQUIRED_EXCLUSIVE, ...mirror },
    },
    spec: {
      nodeName: 'n',
      containers: [{ name: 'app', resources: { limits: { cpu: `${cpus}`, memory: '1Gi' } } }],
    },
    status: { phase },
  });
}

function schedule(nodes: Readonly<Record<string, HostState>>, most = 100) {
  const fleet = new Fleet(MINUTE_MS);
  const inFlight = new InFlight(MINUTE_MS);
  let waits = 0;
  const scheduling = new Scheduling({
    fleet,
    inFlight,
    policy: NO_POLICY_RULES,
    withoutAgent: { lost: 'refuse', unknown: 'refuse' },
    most,
    missing: () => undefined,
    waitMs: MINUTE_MS,
    onWait: () => {
      waits += 1;
    },
  });
  for (const [name, state] of Object.entries(nodes)) fleet.publish(name, state);
  const filter = (facts: ReturnType<typeof pod>, names: readonly string[], signal = NEVER) =>
    scheduling.filter(facts, '', names, signal);
  return { fleet, inFlight, scheduling, filter, waits: () => waits };
}

t.test('of two pods that wait for the last place one gets it', async (t) => {
  const { scheduling, filter } = schedule({ n: nodeOf(4) });
  t.same((await filter(pod('first', 3), ['n'])).passed, ['n']);
  const impatient = new AbortController();
  const waiting = [filter(pod('second', 3), ['n']), filter(pod('third', 3), ['n'], impatient.signal)] as const;
  scheduling.onPodGone(podUid('first'));
  t.same((await waiting[0]).passed, ['n']);
  impatient.abort(new Error('still waiting'));
  await t.rejects(waiting[1], /still waiting/);
});

t.test('of many nodes it is told the best, and those of another pod only when there are no others', async (t) => {
  const free = nodeOf(8);
  const { filter, inFlight } = schedule({ a: free, b: free, c: free, full: nodeOf(5), d: free }, 2);
  const all = ['a', 'b', 'c', 'full', 'd'];
  const first = await filter(pod('first', 4), all);
  t.same(first.passed, ['a', 'full'], 'pack: the fullest, and one of the equals');
  t.match(first.failed.get('b'), /other nodes suit the pod better/);
  t.same((await filter(pod('second', 4), all)).passed, ['b', 'c']);
  t.same((await filter(pod('third', 3), all)).passed, ['a', 'd'], 'beside the first one there is room on a');
  t.equal(inFlight.size, 3);
});

t.test('a pod that takes CPUs and may go anywhere is told the best of many nodes, too', async (t) => {
  const { filter, inFlight, waits } = schedule({ small: nodeOf(2), a: nodeOf(8), b: nodeOf(8), c: nodeOf(8) }, 2);
  const names = ['small', 'unknown', 'a', 'b', 'c'];
  const preferred = { ...REQUIRED_EXCLUSIVE, 'holdfast.dev/numa': 'preferred' };
  t.same((await filter(pod('preferred', 4, preferred), names)).passed, ['a', 'b']);
  t.same((await filter(pod('exclusive', 4, { 'holdfast.dev/cpuset': 'exclusive' }), names)).passed, ['a', 'c']);
  t.same((await filter(pod('few', 4, preferred), ['small', 'unknown'])).passed, ['small', 'unknown']);
  t.equal(inFlight.size, 3);
  t.same((await filter(pod('any', 4, {}), names)).passed, names, 'who takes none is told all');
  t.equal(inFlight.size, 3, 'and hinders nobody');
  t.equal(waits(), 0);
});

t.test('one wide answer does not hold up the next pod', async (t) => {
  const free = nodeOf(6);
  const nodes = Object.fromEntries(Array.from({ length: 1000 }, (_, index) => [`node-${index}`, free]));
  const { filter, waits } = schedule(nodes);
  for (const name of ['first', 'second', 'third']) {
    t.equal((await filter(pod(name, 4), Object.keys(nodes))).passed.length, 100);
  }
  t.equal(waits(), 0);
});

t.test('a waiting answer is looked at again for news of its nodes only', async (t) => {
  const { fleet, filter, waits } = schedule({ n: nodeOf(5), other: nodeOf(3) });
  await filter(pod('first', 4), ['n', 'other']);
  const looks: string[] = [];
  const view = fleet.view.bind(fleet);
  fleet.view = (node) => {
    looks.push(node);
    return view(node);
  };
  const waiting = filter(pod('second', 4), ['n', 'other']);
  t.equal(waits(), 1);
  t.same(looks, ['n', 'other']);
  for (let index = 0; index < 50; index += 1) {
    fleet.publish('other', nodeOf(3));
    fleet.publish('elsewhere', nodeOf(5));
    await new Promise((resolve) => setImmediate(resolve));
  }
  t.same(looks, ['n', 'other'], 'nothing that could make room');
  fleet.publish('n', nodeOf(10));
  t.same((await waiting).passed, ['n']);
});

t.test('a pod that is bound is subtracted until its node tells of it, and then no more', async (t) => {
  const { fleet, scheduling, filter } = schedule({ n: nodeOf(8) });
  scheduling.onPod(bound('there', 3));
  t.match((await filter(pod('five', 5), ['n'])).failed.get('n'), /CPUs free/);
  t.same((await filter(pod('four', 4), ['n'])).passed, ['n']);
  scheduling.onPodGone('four');
  fleet.publish('n', nodeOf(8, exclusivePod('there', 3)));
  t.same((await filter(pod('four', 4), ['n'])).passed, ['n'], 'once, not twice');
});

t.test("a static pod is the one that its node knows, by the UID of the node's file", async (t) => {
  const { fleet, scheduling, filter } = schedule({ n: nodeOf(8, exclusivePod('of-the-file', 3)) });
  const listed = bound('of-the-api', 3, { mirrorOf: 'of-the-file' });
  scheduling.onPod(listed);
  t.equal(fleet.nodeOf(podUid('of-the-file')), 'n');
  t.same((await filter(pod('four', 4), ['n'])).passed, ['n'], 'subtracted once');
  scheduling.onPodGone(listed.key);
  t.equal(fleet.nodeOf(podUid('of-the-file')), undefined);
});

t.test('a pod that has finished takes nothing, also when it ran until now', async (t) => {
  const { fleet, scheduling, filter } = schedule({ n: nodeOf(8) });
  scheduling.onPod(bound('done', 3, { phase: 'Succeeded' }));
  t.same((await filter(pod('seven', 7), ['n'])).passed, ['n']);
  scheduling.onPodGone('seven');
  scheduling.onPod(bound('ran', 3));
  t.equal(fleet.nodeOf(podUid('ran')), 'n');
  scheduling.onPod(bound('ran', 3, { phase: 'Failed' }));
  t.equal(fleet.nodeOf(podUid('ran')), undefined);
  t.same((await filter(pod('seven', 7), ['n'])).passed, ['n']);
});

t.test('a pod with CPUs of its own that asks for no NUMA node is waited for like another', async (t) => {
  const { scheduling, filter, waits } = schedule({ n: nodeOf(5) });
  await filter(pod('exclusive', 3, { 'holdfast.dev/cpuset': 'exclusive' }), ['n']);
  const waiting = filter(pod('required', 3), ['n']);
  t.equal(waits(), 1);
  scheduling.onPodGone('exclusive');
  t.same((await waiting).passed, ['n']);
});
