// What a kubelet 1.32 really sent, replayed: relayed requests arrive byte for byte, intercepted ones field for field.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { create, createRegistry, equals, fromBinary, toBinary } from '@bufbuild/protobuf';
import t from 'tap';
import { encodeFrame } from '../../../cri-shim/grpc/frame.ts';
import { INTERCEPTED } from '../../../cri-shim/steps/table.ts';
import {
  ContainerConfigSchema,
  type CreateContainerRequest,
  CreateContainerRequestSchema,
  LinuxContainerConfigSchema,
  LinuxContainerResourcesSchema,
  RuntimeService,
} from '../../../proto/gen/wire/cri/v1/cri_pb.ts';
import { startBench } from './support/bench.ts';
import { type ReceivedCall, reply, replyError } from './support/fake-runtime.ts';

/** Unknown fields count as well. */
const EXACTLY = { unknown: true, registry: createRegistry() };

interface RecordedCall {
  readonly method: string;
  readonly request: string;
  readonly response?: string;
  readonly code: number;
}

const DATA = process.env['HOLDFAST_TEST_DATA'] ?? fileURLToPath(new URL('../../../../shared/data/', import.meta.url));
const ADJUSTMENT = {
  cpusetCpus: '2-3',
  cpusetMems: '0',
  cpuQuota: -1n,
  annotations: { 'internal.holdfast.dev/x': '1' },
};

function readTrace(file: string): RecordedCall[] {
  const lines = gunzipSync(readFileSync(file)).toString('utf8').trim().split('\n');
  const entries = lines.map((line) => JSON.parse(line) as Partial<RecordedCall>);
  return entries.filter((entry): entry is RecordedCall => entry.method !== undefined);
}

/** The request without what the adjustment put into it. */
function withoutAdjustment(adjusted: CreateContainerRequest, original: CreateContainerRequest): CreateContainerRequest {
  const resources = adjusted.config?.linux?.resources;
  const before = original.config?.linux?.resources;
  if (adjusted.config !== undefined) delete adjusted.config.annotations['internal.holdfast.dev/x'];
  if (resources !== undefined) {
    resources.cpusetCpus = before?.cpusetCpus ?? '';
    resources.cpusetMems = before?.cpusetMems ?? '';
    resources.cpuQuota = before?.cpuQuota ?? 0n;
  }
  return adjusted;
}

for (const name of ['kubelet-1.32-static-pod', 'kubelet-1.32-api-pods']) {
  const file = join(DATA, 'cri-traces', `${name}.jsonl.gz`);
  const skip = existsSync(file) ? false : `no recording at ${file}`;

  t.test(`${name} through the shim`, { skip }, async (t) => {
    const trace = readTrace(file);
    const bench = await startBench(t);
    let next = 0;
    const received: ReceivedCall[] = [];
    await bench.startRuntime({
      onCall: (call) => {
        const recorded = trace[next];
        received.push(call);
        if (recorded === undefined || recorded.code !== 0) replyError(call, recorded?.code ?? 2, 'recorded');
        else reply(call, Buffer.from(recorded.response ?? '', 'base64'));
      },
    });
    const agent = await bench.startAgent();
    agent.reactions.set('containerCreating', { kind: 'answer', adjustment: ADJUSTMENT });
    const differences: string[] = [];
    let intercepted = 0;
    for (const [index, recorded] of trace.entries()) {
      next = index;
      const request = Buffer.from(recorded.request, 'base64');
      const seen = await bench.call(recorded.method, encodeFrame(request));
      const call = received.at(-1);
      const where = `call ${index}, ${recorded.method}`;
      if (received.length !== index + 1 || call?.path !== recorded.method) differences.push(`${where}: not relayed`);
      if (seen.status !== recorded.code) differences.push(`${where}: status ${seen.status}`);
      const expected = encodeFrame(Buffer.from(recorded.response ?? '', 'base64'));
      if (recorded.code === 0 && !seen.body.equals(expected)) differences.push(`${where}: another response`);
      const body = call?.body ?? Buffer.alloc(0);
      if (INTERCEPTED.has(recorded.method)) intercepted += 1;
      if (!recorded.method.endsWith('/CreateContainer')) {
        if (!body.equals(encodeFrame(request))) differences.push(`${where}: another request`);
        continue;
      }
      const original = fromBinary(CreateContainerRequestSchema, request);
      const arrived = fromBinary(CreateContainerRequestSchema, body.subarray(5));
      t.match(arrived.config?.linux?.resources, { cpusetCpus: '2-3', cpusetMems: '0', cpuQuota: -1n });
      const restored = withoutAdjustment(arrived, original);
      if (!equals(CreateContainerRequestSchema, restored, original, EXACTLY)) {
        differences.push(`${where}: a field was lost`);
      }
    }
    t.same(differences, []);
    t.ok(intercepted > 20, `${intercepted} of ${trace.length} calls were intercepted`);
    t.ok(agent.questions.length > intercepted, 'and the agent was asked about each, twice for a creation');
  });

  t.test(`${name}: every request survives decoding and encoding`, { skip }, async (t) => {
    const lost: string[] = [];
    let checked = 0;
    for (const recorded of readTrace(file)) {
      const method = RuntimeService.methods.find(
        (each) => recorded.method === `/runtime.v1.RuntimeService/${each.name}`,
      );
      if (method === undefined) continue;
      for (const [schema, text] of [
        [method.input, recorded.request],
        [method.output, recorded.response ?? ''],
      ] as const) {
        const bytes = Buffer.from(text, 'base64');
        const once = toBinary(schema, fromBinary(schema, bytes));
        const twice = fromBinary(schema, once);
        // Encoding orders the fields anew; as many bytes and equal fields, unknown ones too, mean that none was lost.
        const same = equals(schema, fromBinary(schema, bytes), twice, EXACTLY);
        if (once.length !== bytes.length || !same) lost.push(recorded.method);
        checked += 1;
      }
    }
    t.same(lost, []);
    t.ok(checked > 500, `${checked} messages`);
  });
}

t.test('fields that Holdfast does not declare are really in the messages of the comparison', async (t) => {
  const known = create(ContainerConfigSchema, { metadata: { name: 'a' } });
  const other = create(ContainerConfigSchema, { metadata: { name: 'a' } });
  other.$unknown = [{ no: 900, wireType: 0, data: new Uint8Array([1]) }];
  t.notOk(equals(ContainerConfigSchema, known, other, EXACTLY), 'a lost unknown field would be seen');
  const linux = create(LinuxContainerConfigSchema, { resources: create(LinuxContainerResourcesSchema) });
  t.notOk(equals(LinuxContainerConfigSchema, linux, create(LinuxContainerConfigSchema), EXACTLY));
});
