// While the agent is away or hangs: what passes, what fails, and what the shim asks the runtime instead.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import t from 'tap';
import { CpuSet } from '../../../agent/model/cpu-set.ts';
import { DEFAULT_POLICY } from '../../../agent/model/policy.ts';
import { POLICY_ANNOTATION, stampContainerPolicy, stampPodPolicy } from '../../../agent/model/policy-stamp.ts';
import { formatSharedMask, SHARED_MASK_FILE } from '../../../agent/model/shared-mask.ts';
import { type Bench, startBench } from './support/bench.ts';
import { type CriAnswer, callCri, criRuntime, frameOf, type MethodName, STEPS } from './support/cri.ts';

const REUSE = { ...DEFAULT_POLICY, restart: 'reuse' } as const;
const DEFAULT_STAMP = { [POLICY_ANNOTATION]: stampContainerPolicy(DEFAULT_POLICY) };
const REUSE_STAMP = { [POLICY_ANNOTATION]: stampContainerPolicy(REUSE) };
const DAMAGED_STAMP = { [POLICY_ANNOTATION]: '{"restart":' };

/** A container called web in the sandbox s. */
const CREATE = { podSandboxId: 's', config: { metadata: { name: 'web' } }, sandboxConfig: { metadata: { uid: 'u' } } };
/** Short enough for a test, and still half a second for the agent. */
const SOON = { timeout: '1S' };

/** Answers to what the shim asks the runtime: a sandbox and a container in it, with these annotations. */
function holding(annotations: Readonly<Record<string, string>>): Partial<Record<MethodName, CriAnswer>> {
  const container = { id: 'c', metadata: { name: 'web' }, annotations };
  return {
    podSandboxStatus: { status: { id: 's-full', annotations: {} } },
    containerStatus: { status: container },
    listContainers: { containers: [{ id: 'd', metadata: { name: 'side' } }, container] },
    createContainer: { containerId: 'new' },
  };
}

type Absence = 'absent' | 'hanging' | 'not ready';

async function loseAgent(bench: Bench, absence: Absence): Promise<void> {
  if (absence === 'absent') return;
  const agent = await bench.startAgent();
  for (const { step } of STEPS) {
    const details = 'holdfast UNAVAILABLE: the agent is starting';
    const refusal = { kind: 'refuse', code: status.UNAVAILABLE, details } as const;
    agent.reactions.set(step, absence === 'hanging' ? { kind: 'hang' } : refusal);
  }
}

for (const absence of ['absent', 'hanging', 'not ready'] satisfies Absence[]) {
  for (const { name, request } of STEPS) {
    t.test(`agent ${absence}: ${name} of what has the default policy passes`, async (t) => {
      const bench = await startBench(t);
      const runtime = criRuntime(holding(DEFAULT_STAMP));
      const { calls } = await bench.startRuntime(runtime.behaviour);
      await loseAgent(bench, absence);
      const seen = await callCri(bench, name, request, SOON);
      t.equal(seen.status, 0, seen.message);
      if (name !== 'createContainer') t.same(calls.at(-1)?.body, frameOf(name, request), 'byte for byte');
      t.match(bench.logged.join(''), /"event":"fallback".*without the agent/);
    });
  }

  for (const name of ['removeContainer', 'removePodSandbox', 'createContainer'] as const) {
    for (const [what, stamp] of [
      ['protected', REUSE_STAMP],
      ['unreadable', DAMAGED_STAMP],
    ] as const) {
      t.test(`agent ${absence}: ${name} of what is ${what} fails with the reason`, async (t) => {
        const bench = await startBench(t);
        const answers = holding(stamp);
        answers.podSandboxStatus = {
          status: {
            id: 's-full',
            annotations:
              what === 'protected'
                ? { [POLICY_ANNOTATION]: stampPodPolicy({ ...REUSE, containers: new Map() }) }
                : DAMAGED_STAMP,
          },
        };
        const runtime = criRuntime(answers);
        await bench.startRuntime(runtime.behaviour);
        await loseAgent(bench, absence);
        const request = STEPS.find((each) => each.name === name)?.request ?? {};
        const seen = await callCri(bench, name, request, SOON);
        t.equal(seen.status, status.UNAVAILABLE);
        t.match(seen.message, what === 'protected' ? /"web".*restart: reuse.*tries again/ : /cannot be read/);
        if (absence === 'not ready') t.match(seen.message, /the agent is starting/);
        const own = ['PodSandboxStatus', 'ContainerStatus', 'ListContainers'];
        t.same(
          runtime.received.filter(({ method }) => !own.includes(method)),
          [],
          'nothing was done',
        );
      });
    }
  }
}

t.test('a container that asks for protection in its annotations is protected without a stamp', async (t) => {
  const bench = await startBench(t);
  await bench.startRuntime(criRuntime(holding({})).behaviour);
  const annotations = { 'web.holdfast.dev/cpuset': 'exclusive' };
  const seen = await callCri(bench, 'createContainer', { ...CREATE, sandboxConfig: { annotations } });
  t.match(seen, { status: status.UNAVAILABLE, message: /cpuset: exclusive/ });
  const neighbour = { ...CREATE, config: { metadata: { name: 'side' } }, sandboxConfig: { annotations } };
  t.equal((await callCri(bench, 'createContainer', neighbour)).status, 0, 'its neighbour is not');
  const invalid = { ...CREATE, sandboxConfig: { annotations: { 'holdfast.dev/numa': 'maybe' } } };
  t.match(await callCri(bench, 'createContainer', invalid), { status: status.INVALID_ARGUMENT, message: /"maybe"/ });
});

t.test('a default container is created inside the published mask and marked', async (t) => {
  const bench = await startBench(t);
  const runtime = criRuntime(holding({}));
  await bench.startRuntime(runtime.behaviour);
  const file = join(bench.directory, SHARED_MASK_FILE);
  await writeFile(file, formatSharedMask({ cpus: CpuSet.parse('0-1,6') }));
  await callCri(bench, 'createContainer', CREATE);
  await writeFile(file, formatSharedMask({ cpus: CpuSet.parse('7') }));
  await callCri(bench, 'createContainer', CREATE);
  await writeFile(file, 'not a mask');
  await callCri(bench, 'createContainer', CREATE);
  const created = runtime.requests('CreateContainer');
  t.match(created[0], { config: { linux: { resources: { cpusetCpus: '0-1,6' } }, annotations: DEFAULT_STAMP } });
  t.match(created[1], { config: { linux: { resources: { cpusetCpus: '7' } } } }, 'the mask of this moment');
  t.match(created[2], { config: { linux: undefined, annotations: DEFAULT_STAMP } }, 'no usable mask');
  t.match(bench.logged.join(''), /shared-cpus.json/);
});

t.test('what the runtime does not know passes: it says so itself', async (t) => {
  const bench = await startBench(t);
  const unknown = { code: status.NOT_FOUND, message: 'unknown' };
  const answers = {
    podSandboxStatus: unknown,
    containerStatus: unknown,
    removeContainer: unknown,
    createContainer: unknown,
  };
  const runtime = criRuntime({ ...answers, removePodSandbox: unknown });
  await bench.startRuntime(runtime.behaviour);
  for (const { name, request } of STEPS.filter((each) => /^(create|remove)/.test(each.name))) {
    t.match(await callCri(bench, name, request), { status: status.NOT_FOUND, message: 'unknown' });
  }
  t.equal(runtime.requests('CreateContainer').length, 1);
});

t.test('while it cannot be told what a container is, it counts as protected', async (t) => {
  const bench = await startBench(t);
  const broken = { code: status.INTERNAL, message: 'database closed' };
  const runtime = criRuntime({ podSandboxStatus: broken, containerStatus: broken });
  await bench.startRuntime(runtime.behaviour);
  for (const { name, request } of STEPS.filter((each) => /^(create|remove)/.test(each.name))) {
    const seen = await callCri(bench, name, request, SOON);
    t.match(seen, { status: status.UNAVAILABLE, message: /database closed/ }, name);
  }
});

t.test('removal asks for the sandbox’s own containers', async (t) => {
  const bench = await startBench(t);
  const runtime = criRuntime(holding(DEFAULT_STAMP));
  await bench.startRuntime(runtime.behaviour);
  t.equal((await callCri(bench, 'removePodSandbox', { podSandboxId: 's' })).status, 0);
  t.match(runtime.requests('ListContainers'), [{ filter: { podSandboxId: 's-full' } }], 'by its full ID');
});
