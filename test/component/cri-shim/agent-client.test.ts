// The shim's way to the agent: one that was away is asked again as soon as it is there.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import t from 'tap';
import { createAgentClient } from '../../../cri-shim/agent-client.ts';
import { ContainerStartedRequestSchema, Lifecycle } from '../../../proto/gen/holdfast/lifecycle/v1/lifecycle_pb.ts';
import { startFakeAgent } from './support/fake-agent.ts';

const TIMEOUT_MS = 60_000;

t.test('an agent that is back is asked at once, however often it was away', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'agent-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const path = join(directory, 'agent.sock');
  const client = createAgentClient(path);
  t.teardown(() => client.close());
  const { signal } = new AbortController();
  const ask = () =>
    client.ask(Lifecycle.method.containerStarted, create(ContainerStartedRequestSchema), TIMEOUT_MS, signal);
  for (let times = 0; times < 20; times += 1) {
    t.match(await ask(), { kind: 'away', reason: /ENOENT|ECONNREFUSED/ });
  }
  const agent = await startFakeAgent(path);
  t.teardown(() => agent.stop());
  t.not((await ask()).kind, 'away');
});
