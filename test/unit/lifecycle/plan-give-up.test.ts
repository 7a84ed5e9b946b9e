// Which pods are given up, and which never are.
import t from 'tap';
import { type GiveUpRules, planGiveUp } from '../../../agent/lifecycle/plan-give-up.ts';
import { type Refusal, Refusals } from '../../../agent/lifecycle/refusals.ts';
import { podUid } from '../../../agent/model/ids.ts';
import { podFacts } from '../../support/random-pods.ts';

const MINUTE = 60_000;
const WEB = { uid: podUid('uid-web'), namespace: 'default', name: 'web' };
const FACTS = podFacts('web', {});

const rules = (more: Partial<GiveUpRules> = {}): GiveUpRules => ({
  afterMs: 5 * MINUTE,
  phaseOf: () => 'present',
  factsOf: () => FACTS,
  holdsSomething: () => false,
  ...more,
});

function refusedFor(minutes: number): readonly Refusal[] {
  let now = 0;
  const refusals = new Refusals(() => now);
  for (let minute = 0; minute <= minutes; minute += 1) {
    now = minute * MINUTE;
    refusals.refused(WEB, `no room at ${minute}`);
  }
  return refusals.list();
}

t.test('a pod is given up once it was refused again after the time', async (t) => {
  t.same(planGiveUp(refusedFor(4), rules()).giveUp, []);
  t.match(planGiveUp(refusedFor(5), rules()).giveUp, [{ name: 'web', reason: 'no room at 5' }]);
});

t.test('one refusal long ago says nothing: nobody asked again', async (t) => {
  t.same(planGiveUp(refusedFor(0), rules()).giveUp, []);
});

t.test('only pods that the platform still wants here are given up', async (t) => {
  for (const phase of ['unknown', 'deleting', 'deleted', 'finished'] as const) {
    t.same(planGiveUp(refusedFor(9), rules({ phaseOf: () => phase })).giveUp, [], phase);
  }
  t.match(planGiveUp(refusedFor(9), rules({ phaseOf: () => 'deleted' })).forget, [{ name: 'web' }]);
  t.same(planGiveUp(refusedFor(9), rules({ phaseOf: () => 'deleting' })).forget, []);
});

t.test('a pod that runs here, or for which something is kept, is never given up', async (t) => {
  t.same(planGiveUp(refusedFor(9), rules({ holdsSomething: () => true })).giveUp, []);
});

t.test('a pod that can go nowhere else is never given up', async (t) => {
  const isGivenUp = (facts: Parameters<typeof rules>[0]) => planGiveUp(refusedFor(9), rules(facts)).giveUp.length > 0;
  t.equal(isGivenUp({ factsOf: () => ({ ...FACTS, isStatic: true }) }), false, 'static');
  t.equal(isGivenUp({ factsOf: () => ({ ...FACTS, controllerKind: 'DaemonSet' }) }), false, 'DaemonSet');
  t.equal(isGivenUp({ factsOf: () => ({ ...FACTS, controllerKind: 'Node' }) }), false, 'Node');
  t.equal(isGivenUp({ factsOf: () => ({ ...FACTS, controllerKind: 'ReplicaSet' }) }), true, 'ReplicaSet');
});

t.test('a pod of which only the name is known is not given up: it may be one that can go nowhere else', async (t) => {
  t.same(planGiveUp(refusedFor(9), rules({ factsOf: () => undefined })).giveUp, []);
});
