// With the agent there: what it is asked, what its answers change, and what its refusals do.
import { gzipSync } from 'node:zlib';
import { status } from '@grpc/grpc-js';
import t from 'tap';
import { encodeFrame } from '../../../cri-shim/grpc/frame.ts';
import { startBench, until } from './support/bench.ts';
import { callCri, criRuntime, frameOf, type Service, STEPS } from './support/cri.ts';

for (const service of ['runtime.v1', 'runtime.v1alpha2'] satisfies Service[]) {
  for (const { name, step, request } of STEPS) {
    t.test(`${service} ${name}: the agent is asked and the bytes pass`, async (t) => {
      const bench = await startBench(t);
      const runtime = criRuntime({ createContainer: { containerId: 'new' } });
      const { calls } = await bench.startRuntime(runtime.behaviour);
      const agent = await bench.startAgent();
      const seen = await callCri(bench, name, request, { service });
      t.equal(seen.status, 0);
      const expected = name === 'createContainer' ? [step, 'containerCreated'] : [step];
      t.same(
        agent.questions.map((question) => question.step),
        expected,
      );
      t.equal(calls.length, 1);
      t.same(calls[0]?.body, frameOf(name, request), 'byte for byte');
      t.equal(calls[0]?.path.startsWith(`/${service}.RuntimeService/`), true, 'on the service that was called');
      t.match(calls[0]?.parsed['grpc-timeout'], /^\d+[um]$/, 'what is left of the deadline goes along');
    });
  }
}

for (const { name, step, request } of STEPS.filter(({ name }) => name !== 'startContainer')) {
  t.test(`${name}: a refusal reaches the kubelet as it is, and the runtime hears nothing`, async (t) => {
    const bench = await startBench(t);
    const runtime = criRuntime({});
    const { calls } = await bench.startRuntime(runtime.behaviour);
    const agent = await bench.startAgent();
    const details = 'holdfast NO_ROOM: node 0 has 1 CPU free, 2 asked for – näher';
    agent.reactions.set(step, { kind: 'refuse', code: status.RESOURCE_EXHAUSTED, details });
    const seen = await callCri(bench, name, request);
    t.match(seen, { status: status.RESOURCE_EXHAUSTED, message: details });
    t.equal(calls.length, 0);
  });
}

t.test('a container gets the adjustment, the agent sees what the kubelet sent', async (t) => {
  const bench = await startBench(t);
  const runtime = criRuntime({ createContainer: { containerId: 'new' } });
  await bench.startRuntime(runtime.behaviour);
  const agent = await bench.startAgent();
  const adjustment = { cpusetCpus: '2-3', cpusetMems: '1', cpuQuota: -1n, annotations: { 'internal/x': 'y' } };
  agent.reactions.set('containerCreating', { kind: 'answer', adjustment });
  const config = {
    metadata: { name: 'web', attempt: 2 },
    annotations: { mine: '1' },
    linux: { resources: { cpuQuota: 200_000n, cpuShares: 2048n } },
  };
  const sandboxConfig = { metadata: { uid: 'u', name: 'pod' }, annotations: { 'holdfast.dev/cpuset': 'exclusive' } };
  const seen = await callCri(bench, 'createContainer', { podSandboxId: 's', config, sandboxConfig });
  t.equal(seen.status, 0);
  const [created] = runtime.requests('CreateContainer');
  t.match(created, {
    podSandboxId: 's',
    config: {
      metadata: { name: 'web', attempt: 2 },
      annotations: { mine: '1', 'internal/x': 'y' },
      linux: { resources: { cpusetCpus: '2-3', cpusetMems: '1', cpuQuota: -1n, cpuShares: 2048n } },
    },
    sandboxConfig,
  });
  const [creating, done] = agent.questions;
  t.match(creating?.request, { sandboxId: 's', config, sandboxConfig });
  t.match(done?.request, { sandboxId: 's', containerId: 'new', config, sandboxConfig });
  const sent = (done?.request['config'] ?? config) as typeof config;
  t.same(Object.keys(sent.annotations), ['mine'], 'without the adjustment');
});

t.test('a sandbox gets annotations, an update its CPUs', async (t) => {
  const bench = await startBench(t);
  const runtime = criRuntime({});
  await bench.startRuntime(runtime.behaviour);
  const agent = await bench.startAgent();
  agent.reactions.set('sandboxCreating', { kind: 'answer', adjustment: { annotations: { stamp: '1' } } });
  agent.reactions.set('containerUpdating', { kind: 'answer', adjustment: { cpusetCpus: '0-1' } });
  await callCri(bench, 'runPodSandbox', { config: { metadata: { uid: 'u' } }, runtimeHandler: 'kata' });
  t.match(runtime.requests('RunPodSandbox')[0], { config: { annotations: { stamp: '1' } }, runtimeHandler: 'kata' });
  t.match(agent.questions[0]?.request, { runtimeHandler: 'kata', config: { metadata: { uid: 'u' } } });
  await callCri(bench, 'updateContainerResources', { containerId: 'c', linux: { cpuShares: 7n, cpusetCpus: '5' } });
  t.match(runtime.requests('UpdateContainerResources')[0], { linux: { cpuShares: 7n, cpusetCpus: '0-1' } });
  t.match(agent.questions[1]?.request, { containerId: 'c', resources: { cpusetCpus: '5' } });
});

t.test('an error of the runtime comes back with its details, and ends the step', async (t) => {
  const bench = await startBench(t);
  const failure = { code: status.ALREADY_EXISTS, message: 'name%20is%20reserved' };
  const runtime = criRuntime({ createContainer: failure, startContainer: failure });
  await bench.startRuntime(runtime.behaviour);
  const agent = await bench.startAgent();
  const created = await callCri(bench, 'createContainer', { podSandboxId: 's', config: { metadata: { name: 'w' } } });
  t.match(created, { status: status.ALREADY_EXISTS, message: 'name is reserved' });
  t.equal((await callCri(bench, 'startContainer', { containerId: 'c' })).status, status.ALREADY_EXISTS);
  t.same(
    agent.questions.map(({ step }) => step),
    ['containerCreating'],
  );
});

t.test('containerStarted never fails the call', async (t) => {
  const bench = await startBench(t);
  await bench.startRuntime(criRuntime({}).behaviour);
  const agent = await bench.startAgent();
  agent.reactions.set('containerStarted', { kind: 'refuse', code: status.INTERNAL, details: 'the process is gone' });
  t.equal((await callCri(bench, 'startContainer', { containerId: 'c' })).status, 0);
  t.match(bench.logged.join(''), /the process is gone/);
});

t.test('containerCreated refused: the container is removed and the agent’s words are passed on', async (t) => {
  const bench = await startBench(t);
  const runtime = criRuntime({ createContainer: { containerId: 'new' } });
  await bench.startRuntime(runtime.behaviour);
  const agent = await bench.startAgent();
  const details = 'holdfast HOST_FAILURE: rename: EIO';
  agent.reactions.set('containerCreated', { kind: 'refuse', code: status.INTERNAL, details });
  const seen = await callCri(bench, 'createContainer', { podSandboxId: 's', config: { metadata: { name: 'w' } } });
  t.match(seen, { status: status.INTERNAL, message: details });
  t.match(runtime.requests('RemoveContainer'), [{ containerId: 'new' }]);
  t.notOk(
    agent.questions.some(({ step }) => step === 'containerRemoving'),
    'the agent has already taken back what it did',
  );
});

t.test('answers of the runtime that are compressed or cannot be read', async (t) => {
  const bench = await startBench(t);
  let body = encodeFrame(gzipSync(Buffer.from([0x0a, 3, ...Buffer.from('new')])));
  body[0] = 1;
  await bench.startRuntime({
    onCall: ({ stream }) => {
      const headers = { ':status': 200, 'content-type': 'application/grpc', 'grpc-encoding': 'gzip' };
      stream.respond(headers, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
      stream.end(body);
    },
  });
  const agent = await bench.startAgent();
  const seen = await callCri(bench, 'createContainer', { podSandboxId: 's', config: { metadata: { name: 'w' } } });
  t.match(seen, { status: 0, body }, 'passed on as it came');
  t.match(agent.questions[1], { step: 'containerCreated', request: { containerId: 'new' } });
  body = Buffer.from([0, 0, 0, 0, 9]);
  const broken = await callCri(bench, 'createContainer', { podSandboxId: 's', config: { metadata: { name: 'w' } } });
  t.match(broken, { status: status.INTERNAL, message: /answer cannot be read/ });
});

t.test('a caller that gives up withdraws the question', async (t) => {
  const bench = await startBench(t);
  const { calls } = await bench.startRuntime(criRuntime({}).behaviour);
  const agent = await bench.startAgent();
  agent.reactions.set('containerStopping', { kind: 'hang' });
  const session = bench.connect();
  const stream = session.request({
    ':method': 'POST',
    ':path': '/runtime.v1.RuntimeService/StopContainer',
    'content-type': 'application/grpc',
  });
  stream.on('error', () => {});
  stream.end(Buffer.from([0, 0, 0, 0, 0]));
  await until(() => agent.questions.length === 1, 'the agent is asked');
  stream.close(8);
  await until(() => agent.questions[0]?.cancelled === true, 'the question is withdrawn');
  t.equal(calls.length, 0, 'the runtime hears nothing of it');
});

t.test('calls for different containers do not wait for each other', async (t) => {
  const bench = await startBench(t);
  const runtime = criRuntime({ stopContainer: () => {} });
  await bench.startRuntime(runtime.behaviour);
  const agent = await bench.startAgent();
  agent.reactions.set('containerRemoving', { kind: 'hang' });
  const slow = callCri(bench, 'stopContainer', { containerId: 'slow' }, { timeout: '1S' });
  const hanging = callCri(bench, 'removeContainer', { containerId: 'c' }, { timeout: '1S' });
  await until(() => agent.questions.length === 2, 'both are under way');
  for (const name of ['startContainer', 'updateContainerResources'] as const) {
    t.equal((await callCri(bench, name, { containerId: 'other' })).status, 0);
  }
  await Promise.all([slow, hanging]);
});
