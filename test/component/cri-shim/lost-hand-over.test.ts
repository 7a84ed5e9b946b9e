// CreateContainer when it is not known whether the agent has handed the kept layer over.
import { status } from '@grpc/grpc-js';
import t from 'tap';
import { DEFAULT_POLICY } from '../../../agent/model/policy.ts';
import { POLICY_ANNOTATION, stampContainerPolicy } from '../../../agent/model/policy-stamp.ts';
import { GRPC_HEADERS, startBench, until } from './support/bench.ts';
import { callCri, criRuntime, frameOf } from './support/cri.ts';
import type { AgentReaction, FakeAgent } from './support/fake-agent.ts';

const CREATE = { podSandboxId: 's', config: { metadata: { name: 'web' } }, sandboxConfig: { metadata: { uid: 'u' } } };
const LOST: AgentReaction = { kind: 'refuse', code: status.UNAVAILABLE, details: 'Connection dropped' };

function stampAs(agent: FakeAgent, restart: 'reuse' | 'rebuild'): void {
  const annotations = { [POLICY_ANNOTATION]: stampContainerPolicy({ ...DEFAULT_POLICY, restart }) };
  agent.reactions.set('containerCreating', { kind: 'answer', adjustment: { annotations } });
}

function stepsOf(agent: FakeAgent): string[] {
  return agent.questions.map(({ step }) => step);
}

t.test('protected: the agent keeps the layer, then the container goes, then the kubelet is told', async (t) => {
  const bench = await startBench(t);
  const runtime = criRuntime({ createContainer: { containerId: 'new' } });
  await bench.startRuntime(runtime.behaviour);
  const agent = await bench.startAgent();
  stampAs(agent, 'reuse');
  agent.reactions.set('containerCreated', LOST);
  const seen = await callCri(bench, 'createContainer', CREATE);
  t.match(seen, {
    status: status.UNAVAILABLE,
    message: /did not confirm.*Connection dropped.*removed again.*try again/,
  });
  t.same(stepsOf(agent), ['containerCreating', 'containerCreated', 'containerRemoving']);
  t.match(runtime.requests('RemoveContainer'), [{ containerId: 'new' }]);
});

t.test('protected, and the agent cannot keep the layer either: the container is left alone', async (t) => {
  for (const removing of [
    LOST,
    { kind: 'refuse', code: status.INTERNAL, details: 'holdfast HOST_FAILURE: x' },
  ] as const) {
    const bench = await startBench(t);
    const runtime = criRuntime({ createContainer: { containerId: 'new' } });
    await bench.startRuntime(runtime.behaviour);
    const agent = await bench.startAgent();
    stampAs(agent, 'reuse');
    agent.reactions.set('containerCreated', LOST);
    agent.reactions.set('containerRemoving', removing);
    const seen = await callCri(bench, 'createContainer', CREATE);
    t.match(seen, { status: status.UNAVAILABLE, message: /is left as it is/ });
    t.same(runtime.requests('RemoveContainer'), []);
  }
});

t.test('protected, and the runtime does not remove it: said as it is', async (t) => {
  const bench = await startBench(t);
  const busy = { code: status.UNKNOWN, message: 'busy' };
  const runtime = criRuntime({ createContainer: { containerId: 'new' }, removeContainer: busy });
  await bench.startRuntime(runtime.behaviour);
  const agent = await bench.startAgent();
  stampAs(agent, 'reuse');
  agent.reactions.set('containerCreated', LOST);
  t.match(await callCri(bench, 'createContainer', CREATE), { message: /is left as it is/ });
  t.match(bench.logged.join(''), /could not be removed.*busy/);
});

t.test('protected, and the agent hangs until the caller’s time is over', async (t) => {
  const bench = await startBench(t);
  const runtime = criRuntime({ createContainer: { containerId: 'new' } });
  await bench.startRuntime(runtime.behaviour);
  const agent = await bench.startAgent();
  stampAs(agent, 'reuse');
  agent.reactions.set('containerCreated', { kind: 'hang' });
  await callCri(bench, 'createContainer', CREATE, { timeout: '500m' });
  await until(() => runtime.requests('RemoveContainer').length === 1, 'the container is removed behind the caller');
  t.same(stepsOf(agent), ['containerCreating', 'containerCreated', 'containerRemoving']);
  await until(() => agent.questions[1]?.cancelled === true, 'the question is withdrawn');
});

t.test('protected, and the caller gives up during the hand-over', async (t) => {
  const bench = await startBench(t);
  const runtime = criRuntime({ createContainer: { containerId: 'new' } });
  await bench.startRuntime(runtime.behaviour);
  const agent = await bench.startAgent();
  stampAs(agent, 'reuse');
  agent.reactions.set('containerCreated', { kind: 'hang' });
  const path = '/runtime.v1.RuntimeService/CreateContainer';
  const stream = bench.connect().request({ ...GRPC_HEADERS, ':path': path });
  stream.on('error', () => {});
  stream.end(frameOf('createContainer', CREATE));
  await until(() => stepsOf(agent).includes('containerCreated'), 'the hand-over has begun');
  stream.close(8);
  await until(() => runtime.requests('RemoveContainer').length === 1, 'the container is removed behind the caller');
  t.same(stepsOf(agent), ['containerCreating', 'containerCreated', 'containerRemoving']);
});

t.test('default: the creation succeeds, the agent finds the container when it is back', async (t) => {
  const bench = await startBench(t);
  const runtime = criRuntime({ createContainer: { containerId: 'new' } });
  await bench.startRuntime(runtime.behaviour);
  const agent = await bench.startAgent();
  stampAs(agent, 'rebuild');
  agent.reactions.set('containerCreated', LOST);
  const seen = await callCri(bench, 'createContainer', CREATE);
  t.equal(seen.status, 0);
  t.same(seen.body.subarray(7).toString(), 'new');
  t.same(runtime.requests('RemoveContainer'), []);
});

t.test(
  'a creation that the caller cancels in the runtime is cancelled there, and nothing is handed over',
  async (t) => {
    const bench = await startBench(t);
    const runtime = criRuntime({ createContainer: () => {} });
    const { calls } = await bench.startRuntime(runtime.behaviour);
    const agent = await bench.startAgent();
    stampAs(agent, 'reuse');
    const path = '/runtime.v1.RuntimeService/CreateContainer';
    const stream = bench.connect().request({ ...GRPC_HEADERS, ':path': path });
    stream.on('error', () => {});
    stream.end(frameOf('createContainer', CREATE));
    await until(() => runtime.requests('CreateContainer').length === 1, 'the runtime creates');
    stream.close(8);
    await until(() => calls[0]?.closedWith === 8, 'the runtime saw the cancellation');
    t.same(stepsOf(agent), ['containerCreating']);
  },
);
