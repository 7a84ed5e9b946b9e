// What is believed at start: the newest container of a pod speaks for it.
import t from 'tap';
import { NO_CLAIM, type PodHolding } from '../../../agent/cpuset/holding.ts';
import { planRebuild } from '../../../agent/cpuset/plan-rebuild.ts';
import { HOLDING_ANNOTATION, writeStamp } from '../../../agent/cpuset/stamp.ts';
import { CpuSet } from '../../../agent/model/cpu-set.ts';
import { podUid } from '../../../agent/model/ids.ts';
import type { ContainerState } from '../../../agent/model/pod.ts';
import type { RuntimeContainer } from '../../../agent/runtime/runtime.ts';
import { fakeContainer, fakeSandbox } from '../../support/fake-runtime.ts';

function holdingOf(uid: string, cpus: CpuSet): PodHolding {
  return {
    uid: podUid(uid),
    namespace: 'default',
    name: `pod-${uid}`,
    numa: 'none',
    basis: 'containers',
    asked: 'x',
    ...NO_CLAIM,
    cpus,
    containers: new Map([['app', { ...NO_CLAIM, kind: 'app', cpuset: 'exclusive', cpus }]]),
  };
}

function containerOf(
  uid: string,
  createdAt: number,
  annotations: Readonly<Record<string, string>>,
  state: ContainerState = 'exited',
): RuntimeContainer {
  return fakeContainer(`c-${uid}-${createdAt}`, fakeSandbox(`s-${uid}`, uid), 'app', { state, annotations, createdAt });
}

function owning(uid: string, cpus: CpuSet): Readonly<Record<string, string>> {
  return writeStamp(cpus, undefined, holdingOf(uid, cpus));
}

const SHARED = writeStamp(CpuSet.of(0, 1, 2, 3), undefined, undefined);

function rebuilt(containers: readonly RuntimeContainer[]): readonly string[] {
  return planRebuild(new Map(), containers).holdings.map(({ uid, cpus }) => `${uid} ${cpus.toString()}`);
}

await t.test('a pod that became a shared one does not get its old CPUs back', async (t) => {
  const before = containerOf('a', 1, owning('a', CpuSet.of(0, 1)));
  t.strictSame(rebuilt([before]), ['a 0-1']);
  for (const state of ['running', 'created', 'exited'] as const) {
    t.strictSame(rebuilt([before, containerOf('a', 2, SHARED, state)]), [], state);
  }
});

await t.test('a pod that began to own CPUs has them', async (t) => {
  t.strictSame(rebuilt([containerOf('a', 2, owning('a', CpuSet.of(2))), containerOf('a', 1, SHARED, 'running')]), [
    'a 2',
  ]);
});

await t.test('a newer container that says nothing decides nothing', async (t) => {
  const owner = containerOf('a', 1, owning('a', CpuSet.of(0, 1)), 'running');
  const silent: readonly (readonly [string, Readonly<Record<string, string>>])[] = [
    ['without a stamp', {}],
    ['with a damaged one', { ...SHARED, [HOLDING_ANNOTATION]: '{"cpus":' }],
    ["with another pod's", owning('b', CpuSet.of(3))],
  ];
  for (const [what, annotations] of silent) {
    t.strictSame(rebuilt([owner, containerOf('a', 2, annotations, 'running')]), ['a 0-1'], what);
  }
});

await t.test('of two pods that say they own a CPU the one that runs is believed', async (t) => {
  const runs = containerOf('a', 1, owning('a', CpuSet.of(0, 1)), 'running');
  const over = containerOf('b', 2, owning('b', CpuSet.of(1, 2)));
  const { holdings, remarks } = planRebuild(new Map(), [over, runs]);
  t.strictSame(
    holdings.map(({ uid }) => uid),
    ['a'],
  );
  t.match(remarks, [/pod-b says it owns CPUs 1-2, but default\/pod-a owns CPU 1/]);
});
