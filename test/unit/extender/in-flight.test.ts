// Pods on their way to a node: each is counted on all of its nodes until something is heard of it, and never for ever.
import t from 'tap';
import { podUid } from '../../../agent/model/ids.ts';
import { InFlight } from '../../../extender/scheduling/in-flight.ts';
import { exclusivePod } from '../../support/random-pods.ts';

const TTL_MS = 1000;

function flying() {
  const clock = { now: 0 };
  const flights = new InFlight(TTL_MS, () => clock.now);
  const on = (node: string): readonly string[] => flights.on(node).map(({ identity }) => identity.name);
  return { clock, flights, on };
}

t.test('a pod counts on each node that it was told of, until it is bound', async (t) => {
  const { flights, on } = flying();
  flights.begin(exclusivePod('one', 1), ['a', 'b'], '');
  flights.begin(exclusivePod('two', 1), ['b'], '');
  t.same([on('a'), on('b'), on('c')], [['one'], ['one', 'two'], []]);
  t.ok(flights.end(podUid('one')));
  t.same([on('a'), on('b'), flights.size], [[], ['two'], 1]);
  t.notOk(flights.end(podUid('one')), 'it is not in flight any more');
});

t.test('asked for again, it counts on the nodes of the last answer only, and behind the others', async (t) => {
  const { flights, on } = flying();
  flights.begin(exclusivePod('one', 1), ['a', 'b'], '');
  flights.begin(exclusivePod('two', 1), ['b'], '');
  flights.begin(exclusivePod('one', 1), ['b', 'c'], '');
  t.same([on('a'), on('b'), on('c'), flights.size], [[], ['two', 'one'], ['one'], 2]);
});

t.test('nodes with the same pods share one list', async (t) => {
  const { flights } = flying();
  flights.begin(exclusivePod('one', 1), ['a', 'b', 'c'], '');
  flights.begin(exclusivePod('two', 1), ['b', 'c'], '');
  t.equal(flights.on('b'), flights.on('c'));
  flights.end(podUid('one'));
  t.equal(flights.on('b'), flights.on('c'));
});

t.test('the word of an earlier attempt does not end it, that of this one does', async (t) => {
  const { flights, on } = flying();
  flights.begin(exclusivePod('one', 1), ['a'], '0/3 nodes at 10:00');
  t.notOk(flights.unschedulable(podUid('one'), '0/3 nodes at 10:00'));
  t.same(on('a'), ['one']);
  t.ok(flights.unschedulable(podUid('one'), '0/3 nodes at 10:05'));
  t.same(on('a'), []);
  t.notOk(flights.unschedulable(podUid('other'), 'anything'));
});

t.test('one of which nothing is heard ends after its time, and the next end is known', async (t) => {
  const { clock, flights, on } = flying();
  flights.begin(exclusivePod('one', 1), ['a'], '');
  clock.now = 400;
  flights.begin(exclusivePod('two', 1), ['a'], '');
  t.equal(flights.expire(), TTL_MS - 400);
  clock.now = TTL_MS;
  t.equal(flights.expire(), 400);
  t.same(on('a'), ['two']);
  clock.now = TTL_MS + 400;
  t.equal(flights.expire(), undefined);
  t.same([on('a'), flights.size], [[], 0]);
});

t.test('a scheduler that never binds fills no memory: the oldest is forgotten', async (t) => {
  const { flights, on } = flying();
  for (let index = 0; index < 1500; index += 1) flights.begin(exclusivePod(`pod-${index}`, 1), ['a'], '');
  t.equal(flights.size, 1000);
  t.equal(on('a').length, 1000);
  t.equal(on('a')[0], 'pod-500');
});
