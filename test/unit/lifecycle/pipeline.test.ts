import { create } from '@bufbuild/protobuf';
import { pino } from 'pino';
import t from 'tap';
import type { PodPhase, PodSource } from '../../../agent/cluster/pod-source.ts';
import type { Feature, HoldingsEnd } from '../../../agent/lifecycle/feature.ts';
import { Holdings } from '../../../agent/lifecycle/holdings.ts';
import { LifecycleLocks } from '../../../agent/lifecycle/locks.ts';
import { Pipeline } from '../../../agent/lifecycle/pipeline.ts';
import { Refusals } from '../../../agent/lifecycle/refusals.ts';
import { Registry } from '../../../agent/lifecycle/registry.ts';
import { type ContainerRequest, Subjects } from '../../../agent/lifecycle/subjects.ts';
import { Upkeep } from '../../../agent/lifecycle/upkeep.ts';
import { CpuSet } from '../../../agent/model/cpu-set.ts';
import { containerId, podUid, sandboxId } from '../../../agent/model/ids.ts';
import { DEFAULT_POLICY } from '../../../agent/model/policy.ts';
import { POLICY_ANNOTATION, readContainerStamp, stampContainerPolicy } from '../../../agent/model/policy-stamp.ts';
import { HoldfastError } from '../../../lib/errors.ts';
import { ContainerConfigSchema, PodSandboxConfigSchema } from '../../../proto/gen/wire/cri/v1/cri_pb.ts';
import { fakeContainer, fakeRuntime, fakeSandbox } from '../../support/fake-runtime.ts';

const { signal } = new AbortController();

function build(features: readonly Feature[]) {
  const logger = pino({ level: 'silent' });
  const registry = new Registry();
  const runtime = fakeRuntime();
  const phases = new Map<string, PodPhase>();
  const clock = { now: 0 };
  const ended: HoldingsEnd[] = [];
  const podSource: PodSource = {
    status: () => ({ name: 'test', ageMs: 0 }),
    find: () => undefined,
    phaseOf: ({ uid }) => phases.get(uid) ?? 'unknown',
    onChange: () => () => {},
    close: () => {},
  };
  const policyRules = { onDenied: 'refuse', defaults: {}, turnedOff: [], namespaces: new Map() } as const;
  const locks = new LifecycleLocks();
  const subjects = new Subjects({ registry, runtime, podSource, policyRules, logger });
  const holdings = new Holdings({
    features,
    registry,
    podSource,
    gracePeriodMs: 1000,
    now: () => clock.now,
    logger,
    locks,
    onEnded: (why) => ended.push(why),
  });
  const refusals = new Refusals(() => clock.now);
  const pipeline = new Pipeline({ features, registry, subjects, holdings, locks, runtime, logger, refusals });
  const upkeep = new Upkeep({ features, registry, holdings, runtime, podSource, logger, onFailure: () => {} });
  return { pipeline, upkeep, registry, runtime, phases, clock, ended, refusals };
}

const sandboxConfig = (annotations: Record<string, string> = {}) =>
  create(PodSandboxConfigSchema, { metadata: { name: 'web-0', namespace: 'default', uid: 'u1' }, annotations });

const request = (annotations: Record<string, string> = {}, name = 'web'): ContainerRequest => ({
  sandboxId: sandboxId('s1'),
  config: create(ContainerConfigSchema, { metadata: { name, attempt: 0 } }),
  sandboxConfig: sandboxConfig(annotations),
});

const reuse = { 'holdfast.dev/restart': 'reuse' };
const reuseStamp = { [POLICY_ANNOTATION]: stampContainerPolicy({ ...DEFAULT_POLICY, restart: 'reuse' }) };

t.test('contributions are merged and the policy is stamped', async (t) => {
  const { pipeline } = build([
    { name: 'one', containerCreating: async () => ({ cpusetCpus: CpuSet.of(2) }) },
    { name: 'two', containerCreating: async () => ({ annotations: { a: 'b' } }) },
  ]);
  const adjustment = await pipeline.containerCreating(request(reuse), signal);
  t.equal(adjustment.cpusetCpus?.toString(), '2');
  t.equal(adjustment.annotations?.['a'], 'b');
  t.equal(readContainerStamp(adjustment.annotations ?? {})?.restart, 'reuse');
});

t.test('a pod that asks for nothing is not touched', async (t) => {
  const { pipeline } = build([{ name: 'idle' }]);
  t.same(await pipeline.sandboxCreating(sandboxConfig(), signal), {});
});

t.test('a stamp that the author of the pod wrote is replaced', async (t) => {
  const { pipeline } = build([]);
  const adjustment = await pipeline.sandboxCreating(sandboxConfig(reuseStamp), signal);
  t.same(readContainerStamp(adjustment.annotations ?? {}), DEFAULT_POLICY);
});

t.test('a feature that refuses refuses the step', async (t) => {
  const { pipeline } = build([
    {
      name: 'full',
      sandboxCreating: async () => {
        throw new HoldfastError('NO_ROOM', 'no CPUs left');
      },
    },
  ]);
  await t.rejects(pipeline.sandboxCreating(sandboxConfig(), signal), { code: 'NO_ROOM' });
});

t.test('who was told that there is no room is noted until there is', async (t) => {
  let code: 'NO_ROOM' | 'NOT_GRANTED' | undefined = 'NO_ROOM';
  const answer = async () => {
    if (code !== undefined) throw new HoldfastError(code, 'because');
    return {};
  };
  const { pipeline, refusals, clock } = build([{ name: 'full', sandboxCreating: answer, containerCreating: answer }]);
  await t.rejects(pipeline.sandboxCreating(sandboxConfig(), signal), { code });
  clock.now = 7;
  await t.rejects(pipeline.containerCreating(request(), signal), { code });
  t.match(refusals.list(), [{ uid: 'u1', namespace: 'default', name: 'web-0', since: 0, until: 7 }]);
  code = 'NOT_GRANTED';
  await t.rejects(pipeline.sandboxCreating(sandboxConfig(), signal), { code });
  t.match(refusals.list(), [{ since: 0, until: 7 }], 'another reason is another matter');
  code = undefined;
  await pipeline.sandboxCreating(sandboxConfig(), signal);
  t.same(refusals.list(), []);
});

t.test('a request that names no pod is refused', async (t) => {
  const { pipeline } = build([]);
  await t.rejects(pipeline.sandboxCreating(undefined, signal), { code: 'INVALID_REQUEST' });
  await t.rejects(pipeline.containerCreating({ ...request(), config: undefined }, signal), { code: 'INVALID_REQUEST' });
});

t.test('when containerCreated is refused, what was done is taken back in reverse order', async (t) => {
  const order: string[] = [];
  const feature = (name: string, refuses = false): Feature => ({
    name,
    containerCreated: async () => {
      order.push(`${name} created`);
      if (refuses) throw new HoldfastError('PRECONDITION', 'no');
    },
    containerAbandoned: async () => void order.push(`${name} abandoned`),
  });
  const { pipeline } = build([feature('one'), feature('two', true), feature('three')]);
  await t.rejects(pipeline.containerCreated(request(), containerId('c1'), signal), { code: 'PRECONDITION' });
  t.same(order, ['one created', 'two created', 'two abandoned', 'one abandoned']);
});

t.test('when taking back fails, the shim is told not to remove the container', async (t) => {
  const { pipeline } = build([
    {
      name: 'stuck',
      containerCreated: async () => {
        throw new HoldfastError('PRECONDITION', 'no');
      },
      containerAbandoned: async () => {
        throw new Error('disk');
      },
    },
  ]);
  await t.rejects(pipeline.containerCreated(request(), containerId('c1'), signal), { code: 'UNAVAILABLE' });
});

t.test('a reuse container that still runs is stopped before features see its removal', async (t) => {
  const states: string[] = [];
  const { pipeline, runtime } = build([
    { name: 'layers', containerRemoving: async ({ container }) => void states.push(container.state) },
  ]);
  const sandbox = fakeSandbox('s1', 'u1');
  runtime.sandboxes.set('s1', sandbox);
  runtime.containers.set('c1', fakeContainer('c1', sandbox, 'web', { annotations: reuseStamp }));
  runtime.containers.set('c2', fakeContainer('c2', sandbox, 'log'));
  await pipeline.containerRemoving(containerId('c1'), signal);
  await pipeline.containerRemoving(containerId('c2'), signal);
  t.same(runtime.log, ['stop c1']);
  t.same(states, ['exited', 'running']);
});

t.test('a retried creation clears away what the lost one left, with its holdings kept', async (t) => {
  const order: string[] = [];
  const { pipeline, runtime } = build([
    {
      name: 'layers',
      containerRemoving: async ({ container }) => void order.push(`removing ${container.id}`),
      containerCreating: async () => {
        order.push('creating');
        return {};
      },
    },
  ]);
  const sandbox = fakeSandbox('s1', 'u1');
  runtime.sandboxes.set('s1', sandbox);
  runtime.containers.set('lost', fakeContainer('lost', sandbox, 'web', { state: 'created', annotations: reuseStamp }));
  runtime.containers.set('log', fakeContainer('log', sandbox, 'log', { state: 'created' }));
  await pipeline.containerCreating(request(reuse), signal);
  t.same(order, ['removing lost', 'creating']);
  t.same(runtime.log, ['remove lost']);
  await pipeline.containerCreating(request({}, 'log'), signal);
  t.same(runtime.log, ['remove lost'], 'the kubelet clears up after default containers itself');
});

t.test('removing a sandbox goes through the containers that are still in it, known or not', async (t) => {
  const removed: string[] = [];
  const { pipeline, runtime } = build([
    { name: 'layers', containerRemoving: async ({ container }) => void removed.push(container.name) },
  ]);
  const sandbox = fakeSandbox('s1', 'u1');
  const other = fakeSandbox('s2', 'u2');
  runtime.sandboxes.set('s1', sandbox).set('s2', other);
  runtime.containers.set('c1', fakeContainer('c1', sandbox, 'web', { state: 'exited' }));
  runtime.containers.set('c2', fakeContainer('c2', other, 'other'));
  await pipeline.sandboxRemoving(sandboxId('s1'), signal);
  t.same(removed, ['web']);
});

t.test('the beginning of a sandbox ID stands for the whole, as it does for the runtime', async (t) => {
  const removed: string[] = [];
  const { pipeline, runtime } = build([
    { name: 'layers', containerRemoving: async ({ container }) => void removed.push(container.id) },
  ]);
  const sandbox = fakeSandbox('s1s1s1s1', 'u1');
  runtime.sandboxes.set('s1s1s1s1', sandbox).set('s1s1', sandbox);
  runtime.containers.set('c1', fakeContainer('c1', sandbox, 'web', { state: 'exited' }));
  await pipeline.sandboxRemoving(sandboxId('s1s1'), signal);
  t.same(removed, ['c1']);
});

t.test('a container whose sandbox is gone still has its layer kept', async (t) => {
  const removed: string[] = [];
  const { pipeline, runtime } = build([
    {
      name: 'layers',
      containerRemoving: async ({ pod, container }) => void removed.push(`${pod.uid} ${container.id}`),
    },
  ]);
  const gone = fakeSandbox('s1', 'u1');
  runtime.containers.set('c1', fakeContainer('c1', gone, 'web', { state: 'exited', annotations: reuseStamp }));
  await pipeline.containerRemoving(containerId('c1'), signal);
  t.same(removed, ['u1 c1']);
});

t.test('a task that the runtime could not load counts as running when the pod is deleted', async (t) => {
  const { upkeep, runtime, phases, ended } = build([{ name: 'layers', podGone: async () => {} }]);
  const sandbox = fakeSandbox('s1', 'u1');
  runtime.sandboxes.set('s1', sandbox);
  runtime.containers.set('c1', fakeContainer('c1', sandbox, 'web', { state: 'unknown' }));
  phases.set('u1', 'deleted');
  await upkeep.reconcile(signal);
  await upkeep.reconcile(signal);
  t.same(ended, []);
  runtime.containers.clear();
  await upkeep.reconcile(signal);
  t.same(ended, ['deleted']);
});

t.test('steps about containers that no kubelet made, or that are gone, pass', async (t) => {
  const { pipeline, runtime } = build([
    {
      name: 'strict',
      containerStopping: async () => {
        throw new HoldfastError('PRECONDITION', 'no');
      },
    },
  ]);
  const foreign = fakeSandbox('s1', '');
  runtime.sandboxes.set('s1', foreign);
  runtime.containers.set('c1', fakeContainer('c1', foreign, 'x'));
  await pipeline.containerStopping(containerId('c1'), signal);
  await pipeline.containerStopping(containerId('gone'), signal);
  t.same(await pipeline.containerUpdating(containerId('gone'), undefined, signal), {});
});

t.test('what fails after the start never fails the call', async (t) => {
  const seen: string[] = [];
  const { pipeline, runtime } = build([
    {
      name: 'broken',
      containerStarted: async () => {
        throw new Error('gone already');
      },
    },
    { name: 'next', containerStarted: async ({ container }) => void seen.push(container.state) },
  ]);
  const sandbox = fakeSandbox('s1', 'u1');
  runtime.sandboxes.set('s1', sandbox);
  runtime.containers.set('c1', fakeContainer('c1', sandbox, 'web', { state: 'created' }));
  await pipeline.containerStarted(containerId('c1'), signal);
  t.same(seen, ['running']);
});

t.test('holdings end with the pod and not with the sandbox', async (t) => {
  const gone: string[] = [];
  const { pipeline, upkeep, runtime, clock, ended, phases } = build([
    { name: 'layers', podGone: async (uid, why) => void gone.push(`${uid} ${why}`) },
  ]);
  t.throws(() => upkeep.requireRecovered(), { code: 'UNAVAILABLE' });
  await upkeep.reconcile(signal);
  upkeep.requireRecovered();
  await pipeline.sandboxCreating(sandboxConfig(reuse), signal);
  runtime.sandboxes.set('s1', fakeSandbox('s1', 'u1'));
  clock.now = 5000;
  await upkeep.reconcile(signal);
  t.same(gone, [], 'it has a sandbox');
  runtime.sandboxes.clear();
  await upkeep.reconcile(signal);
  clock.now = 5999;
  await upkeep.reconcile(signal);
  t.same(gone, [], 'the grace period runs');
  await pipeline.sandboxCreating(sandboxConfig(reuse), signal);
  clock.now = 6100;
  await upkeep.reconcile(signal);
  t.same(gone, [], 'a sandbox that is being made starts the grace period anew');
  clock.now = 7200;
  await upkeep.reconcile(signal);
  t.same(gone, ['u1 no-sandbox']);
  await upkeep.reconcile(signal);
  t.same(ended, ['no-sandbox'], 'only once');
  await pipeline.sandboxCreating(sandboxConfig(reuse), signal);
  phases.set('u1', 'deleted');
  await upkeep.reconcile(signal);
  t.same(ended, ['no-sandbox', 'deleted'], 'a pod that came back can end again');
});

t.test('holdings that could not be ended are tried again', async (t) => {
  let tries = 0;
  const { pipeline, upkeep, phases, ended } = build([
    {
      name: 'layers',
      podGone: async () => {
        tries += 1;
        if (tries === 1) throw new Error('runtime away');
      },
    },
  ]);
  await upkeep.reconcile(signal);
  await pipeline.sandboxCreating(sandboxConfig(reuse), signal);
  phases.set('u1', 'finished');
  await upkeep.reconcile(signal);
  t.same(ended, []);
  await upkeep.reconcile(signal);
  t.same(ended, ['finished']);
  t.equal(tries, 2);
});

t.test('what a feature holds for a pod that nobody else remembers ends too', async (t) => {
  const gone: string[] = [];
  const { upkeep, clock } = build([
    {
      name: 'layers',
      pods: () => (gone.length > 0 ? [] : [{ uid: podUid('u9'), namespace: 'default', name: 'forgotten' }]),
      podGone: async (uid) => void gone.push(uid),
    },
  ]);
  await upkeep.reconcile(signal);
  await upkeep.reconcile(signal);
  t.same(gone, []);
  clock.now = 2000;
  await upkeep.reconcile(signal);
  t.same(gone, ['u9']);
});
