// The decisions of following agents: when two messages make a state, how long to wait, how many connect at a time.
import assert from 'node:assert/strict';
import { create } from '@bufbuild/protobuf';
import fc from 'fast-check';
import t from 'tap';
import { Gate } from '../../../extender/agents/gate.ts';
import { planJoin } from '../../../extender/agents/plan-join.ts';
import { isDoubtful, planReconnect } from '../../../extender/agents/plan-reconnect.ts';
import {
  HostTopologySchema,
  ListAllocationsResponseSchema,
} from '../../../proto/gen/holdfast/topology/v1/topology_pb.ts';
import { holds } from '../../support/properties.ts';

const topology = (version: bigint) => create(HostTopologySchema, { version });
const allocations = (version: bigint) => create(ListAllocationsResponseSchema, { version });

t.test('a topology and its allocations', async (t) => {
  t.equal(planJoin(topology(5n), undefined, true), 'ask', 'there are none yet');
  t.equal(planJoin(topology(5n), allocations(5n), false), 'joined');
  t.equal(planJoin(topology(5n), allocations(4n), false), 'ask', 'they were asked for before the topology came');
  t.equal(planJoin(topology(5n), allocations(6n), true), 'wait', 'a newer topology is on its way');
  t.equal(planJoin(topology(5n), allocations(6n), false), 'wait');
  t.equal(planJoin(topology(5n), allocations(4n), true), 'behind', 'asked for afterwards, they are older all the same');
});

t.test('pauses double up to the longest, and at least half of one is kept', async (t) => {
  const times = { pauseMs: 100, longestPauseMs: 5000 };
  t.same(
    [1, 2, 3, 7, 1000].map((failures) => planReconnect(failures, 1, times)),
    [100, 200, 400, 5000, 5000],
  );
  const property = fc.property(fc.nat(10_000), fc.double({ min: 0, max: 1, noNaN: true }), (failures, random) => {
    const pause = planReconnect(failures, random, times);
    assert.ok(pause >= times.pauseMs / 2 && pause <= times.longestPauseMs, `${pause}`);
  });
  holds(t, 'within its bounds', property, 500);
});

t.test('who failed waits among the doubtful, unless it was alive a moment ago', async (t) => {
  const recentMs = 1000;
  t.notOk(isDoubtful({ failures: 0, sinceGoodMs: undefined }, recentMs), 'the first attempt');
  t.ok(isDoubtful({ failures: 1, sinceGoodMs: undefined }, recentMs));
  t.notOk(isDoubtful({ failures: 3, sinceGoodMs: 1000 }, recentMs), 'it may be restarting');
  t.ok(isDoubtful({ failures: 3, sinceGoodMs: 1001 }, recentMs));
});

t.test('so many are inside at a time, in the order in which they came', async (t) => {
  const gate = new Gate(2);
  const { signal } = new AbortController();
  const order: string[] = [];
  const come = async (name: string, until = signal): Promise<() => void> => {
    const leave = await gate.enter(until);
    order.push(name);
    return leave;
  };
  const [leaveFirst] = await Promise.all([come('first'), come('second')]);
  const impatient = new AbortController();
  const third = come('third');
  const gaveUp = come('impatient', impatient.signal);
  const fourth = come('fourth');
  impatient.abort(new Error('no longer'));
  await t.rejects(gaveUp, /no longer/);
  t.same(order, ['first', 'second']);
  leaveFirst?.();
  leaveFirst?.();
  const leaveThird = await third;
  t.same(order, ['first', 'second', 'third'], 'a place that is given back twice is one place');
  leaveThird();
  await fourth;
  t.same(order, ['first', 'second', 'third', 'fourth']);
});
