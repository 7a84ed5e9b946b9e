import t from 'tap';
import type { PodPhase } from '../../../agent/cluster/pod-source.ts';
import { type GiveUpRules, planGiveUp } from '../../../agent/lifecycle/plan-give-up.ts';
import { type Refusal, Refusals } from '../../../agent/lifecycle/refusals.ts';
import { podUid } from '../../../agent/model/ids.ts';

const MINUTE = 60_000;
const pod = (name: string) => ({ uid: podUid(`uid-${name}`), namespace: 'default', name });
const rules = (phase: PodPhase, holds = false): GiveUpRules => ({
  afterMs: 5 * MINUTE,
  phaseOf: () => phase,
  holdsSomething: () => holds,
});

function refusedFor(minutes: number, name = 'web'): readonly Refusal[] {
  let now = 0;
  const refusals = new Refusals(() => now);
  for (let minute = 0; minute <= minutes; minute += 1) {
    now = minute * MINUTE;
    refusals.refused(pod(name), `no room at ${minute}`);
  }
  return refusals.list();
}

t.test('a pod is given up once it was refused again after the time', async (t) => {
  t.same(planGiveUp(refusedFor(4), rules('present')).giveUp, []);
  t.match(planGiveUp(refusedFor(5), rules('present')).giveUp, [{ name: 'web', reason: 'no room at 5' }]);
});

t.test('one refusal long ago says nothing: nobody asked again', async (t) => {
  t.same(planGiveUp(refusedFor(0), rules('present')).giveUp, []);
});

t.test('only pods that the platform still wants here are given up', async (t) => {
  for (const phase of ['unknown', 'deleting', 'deleted', 'finished'] as const) {
    t.same(planGiveUp(refusedFor(9), rules(phase)).giveUp, [], phase);
  }
  t.match(planGiveUp(refusedFor(9), rules('deleted')).forget, [{ name: 'web' }]);
  t.same(planGiveUp(refusedFor(9), rules('deleting')).forget, []);
});

t.test('a pod that runs here, or for which something is kept, is never given up', async (t) => {
  t.same(planGiveUp(refusedFor(9), rules('present', true)).giveUp, []);
});
