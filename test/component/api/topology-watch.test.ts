// Watching the topology over a real socket: the present state first, then the latest, however slowly it is read; and
// 10,000 states that nobody reads take no room.
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import http2 from 'node:http2';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import v8 from 'node:v8';
import vm from 'node:vm';
import { create, fromBinary } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import t, { type Test } from 'tap';
import { implement, serveUnix } from '../../../agent/api/grpc-server.ts';
import { topologyHandlers } from '../../../agent/api/topology-service.ts';
import { createTopologyView, type Placing } from '../../../agent/api/topology-view.ts';
import { pollUntil } from '../../../agent/cli/quickstart/poll.ts';
import { CpuSet } from '../../../agent/model/cpu-set.ts';
import { unallocated } from '../../../agent/topology/publish.ts';
import { Changes } from '../../../lib/changes.ts';
import { HoldfastError } from '../../../lib/errors.ts';
import { callServerStream, callUnary, connectUnix, isServiceError } from '../../../lib/grpc-client.ts';
import {
  GetTopologyRequestSchema,
  HostTopologySchema,
  ListAllocationsRequestSchema,
  PlanPlacementRequestSchema,
  Topology,
  WatchTopologyRequestSchema,
} from '../../../proto/gen/holdfast/topology/v1/topology_pb.ts';
import { evenHost, GIB } from '../../support/hand-made-hosts.ts';

const PATIENCE_MS = 60_000;
const HOST = evenHost(2, 64, 2, { memoryBytes: 64 * GIB });
const watchRequest = create(WatchTopologyRequestSchema);

v8.setFlagsFromString('--expose-gc');
const collectGarbage: () => void = vm.runInNewContext('gc');

/** A feature that says how often it was asked. */
function makePlacing() {
  const asked = { view: 0, allocations: 0 };
  const placing: Placing = {
    view: () => {
      asked.view += 1;
      return { ...unallocated(HOST), reservedCpus: CpuSet.of(0) };
    },
    allocations: () => {
      asked.allocations += 1;
      return {};
    },
    runningPods: () => [],
    planPlacement: () => ({ fits: true }),
    topologyChanged: async (_topology, onMoved) => onMoved(),
  };
  return { asked, placing };
}

async function serve(t: Test, requireKnown: () => void = () => {}) {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-watch-'));
  const { asked, placing } = makePlacing();
  const changes = new Changes({ first: 1000n, onVersion: () => {} });
  const view = createTopologyView({ nodeName: 'node', topology: HOST, placing, changes });
  const services = [implement(Topology, topologyHandlers(view, changes, requireKnown))];
  const server = await serveUnix({ path: join(folder, 's'), services, onFinished: () => {} });
  const client = connectUnix(server.path);
  t.teardown(async () => {
    client.close();
    await server.close(0);
    await rm(folder, { recursive: true });
  });
  return { path: server.path, client, changes, asked };
}

await t.test('the present state comes first, then a message per change, with a growing version', async (t) => {
  const { client, changes } = await serve(t);
  const stream = callServerStream(client, Topology.method.watchTopology, watchRequest, { timeoutMs: PATIENCE_MS });
  t.match((await stream.next()).value, { version: 1000n, nodeName: 'node' });
  changes.announce();
  t.match((await stream.next()).value, { version: 1001n });
  changes.announce();
  changes.announce();
  t.match((await stream.next()).value, { version: 1003n }, 'a burst is one message');
  const list = await callUnary(client, Topology.method.listAllocations, create(ListAllocationsRequestSchema), {
    timeoutMs: PATIENCE_MS,
  });
  t.equal(list.version, 1003n);
  const plan = await callUnary(client, Topology.method.planPlacement, create(PlanPlacementRequestSchema), {
    timeoutMs: PATIENCE_MS,
  });
  t.equal(plan.version, 1003n);
  await stream.return();
});

await t.test('a state is put together once, for however many who ask', async (t) => {
  const { client, changes, asked } = await serve(t);
  const streams = Array.from({ length: 50 }, () =>
    callServerStream(client, Topology.method.watchTopology, watchRequest, { timeoutMs: PATIENCE_MS }),
  );
  for (const stream of streams) await stream.next();
  await callUnary(client, Topology.method.getTopology, create(GetTopologyRequestSchema), { timeoutMs: PATIENCE_MS });
  t.strictSame(asked, { view: 1, allocations: 1 });
  changes.announce();
  for (const stream of streams) t.equal((await stream.next()).value?.version, 1001n);
  t.strictSame(asked, { view: 2, allocations: 2 });
  for (const stream of streams) await stream.return();
});

await t.test('nothing is shown before it is known what is handed out', async (t) => {
  let known = false;
  const { client } = await serve(t, () => {
    if (!known) throw new HoldfastError('UNAVAILABLE', 'not known yet');
  });
  const ask = () =>
    callUnary(client, Topology.method.getTopology, create(GetTopologyRequestSchema), { timeoutMs: PATIENCE_MS });
  const stream = callServerStream(client, Topology.method.watchTopology, watchRequest, { timeoutMs: PATIENCE_MS });
  for (const early of [ask(), stream.next()]) {
    t.ok(isServiceError(await early.catch((error: unknown) => error), status.UNAVAILABLE));
  }
  known = true;
  t.match(await ask(), { version: 1000n });
});

/** A client of HTTP/2 that reads as much as it is told to. */
async function openWatch(t: Test, path: string) {
  const session = http2.connect('http://localhost', {
    createConnection: () => net.connect(path),
    settings: { initialWindowSize: 65_535 },
  });
  t.teardown(() => session.destroy());
  const stream = session.request({
    ':method': 'POST',
    ':path': '/holdfast.topology.v1.Topology/WatchTopology',
    'content-type': 'application/grpc',
    te: 'trailers',
  });
  stream.end(Buffer.alloc(5));
  await once(stream, 'response');
  return stream;
}

/** The messages in what was read, whole ones only. */
function versionsIn(bytes: Buffer): readonly bigint[] {
  const versions: bigint[] = [];
  for (let at = 0; at + 5 <= bytes.length; ) {
    const length = bytes.readUInt32BE(at + 1);
    if (at + 5 + length > bytes.length) break;
    versions.push(fromBinary(HostTopologySchema, bytes.subarray(at + 5, at + 5 + length)).version);
    at += 5 + length;
  }
  return versions;
}

await t.test('a reader that stopped gets the latest state, and what it missed took no room', async (t) => {
  const { path, changes, asked } = await serve(t);
  const stream = await openWatch(t, path);
  const chunks: Buffer[] = [];
  const read = (chunk: Buffer): void => void chunks.push(chunk);
  stream.on('data', read);
  await pollUntil('the first state', PATIENCE_MS, async () =>
    versionsIn(Buffer.concat(chunks)).length > 0 ? true : undefined,
  );
  stream.pause();
  stream.off('data', read);
  collectGarbage();
  const before = process.memoryUsage();
  const looks = asked.view;
  for (let change = 0; change < 10_000; change += 1) {
    changes.announce();
    // As long as it takes to send what can be sent.
    if (change % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    else await setImmediate();
  }
  collectGarbage();
  const after = process.memoryUsage();
  const grown = after.heapUsed + after.external - before.heapUsed - before.external;
  t.ok(grown < 4 * 1024 * 1024, `${grown} bytes more than before`);
  t.ok(asked.view - looks < 200, `${asked.view - looks} of the states were put together`);
  stream.on('data', read);
  stream.resume();
  await pollUntil('the latest state', PATIENCE_MS, async () =>
    versionsIn(Buffer.concat(chunks)).at(-1) === changes.version ? true : undefined,
  );
  const versions = versionsIn(Buffer.concat(chunks));
  t.ok(versions.length < 100, `${versions.length} states were read`);
  t.ok(versions.every((version, index) => index === 0 || version > (versions[index - 1] ?? 0n)));
});
