// How long watchers wait for a change, without a clock: what the service asks of its pause.
import { create } from '@bufbuild/protobuf';
import t from 'tap';
import { type Pacing, topologyHandlers } from '../../../agent/api/topology-service.ts';
import { createTopologyView } from '../../../agent/api/topology-view.ts';
import { Changes } from '../../../lib/changes.ts';
import { WatchTopologyRequestSchema } from '../../../proto/gen/holdfast/topology/v1/topology_pb.ts';
import { evenHost } from '../../support/hand-made-hosts.ts';

/** What docs/topology.md promises of a change. */
const PROMISED_MS = 100;

/** A watcher, and the pauses that it was given; time goes on in pauses only. */
function watch() {
  const changes = new Changes({ first: 1n });
  const view = createTopologyView({ nodeName: 'node', topology: evenHost(1, 2, 1), placing: undefined, changes });
  const time = { now: 0 };
  const pauses: number[] = [];
  const pacing: Pacing = {
    now: () => time.now,
    pause: async (ms) => {
      pauses.push(ms);
      time.now += ms;
    },
  };
  const handlers = topologyHandlers(view, changes, () => {}, pacing);
  const context = { signal: new AbortController().signal };
  const watching = handlers.watchTopology(create(WatchTopologyRequestSchema), context);
  const stream = watching[Symbol.asyncIterator]();
  const next = async (): Promise<unknown> => {
    const { done, value } = await stream.next();
    return done ? undefined : value.version;
  };
  return { changes, time, pauses, next };
}

await t.test(
  'a change that follows directly on another is sent within 100 ms, and those between with it',
  async (t) => {
    const { changes, pauses, next } = watch();
    t.equal(await next(), 1n);
    for (let change = 2n; change < 12n; change += 1n) {
      changes.announce();
      t.equal(await next(), change);
    }
    t.equal(pauses.length, 10, 'a burst is not a message each');
    t.ok(
      pauses.every((ms) => ms > 0 && ms <= PROMISED_MS),
      `pauses of ${pauses.join(', ')} ms`,
    );
  },
);

await t.test('a change that comes after a while is sent at once', async (t) => {
  const { changes, time, pauses, next } = watch();
  t.equal(await next(), 1n);
  const following = next();
  time.now += 1000;
  changes.announce();
  t.equal(await following, 2n);
  t.strictSame(pauses, []);
});
