import { status } from '@grpc/grpc-js';
import t from 'tap';
import { POLICY_ANNOTATION } from '../../../../agent/model/policy-stamp.ts';
import { planAfterCreation } from '../../../../cri-shim/steps/plan-after-creation.ts';

const DEFAULT = { containerName: 'web', containerAnnotations: {}, podAnnotations: {} };
const REUSE = { ...DEFAULT, containerAnnotations: { [POLICY_ANNOTATION]: '{"restart":"reuse"}' } };
const AWAY = { kind: 'away', reason: 'hangs' } as const;

function refused(code: status, details: string) {
  return { kind: 'refused', status: { code, details } } as const;
}

t.test('a confirmed container is used', async (t) => {
  t.same(planAfterCreation({ kind: 'answered', response: {} }, REUSE), { kind: 'answer' });
});

t.test('a refusal in the agent’s own words: it has taken back what it did', async (t) => {
  for (const confirmation of [
    refused(status.FAILED_PRECONDITION, 'another chain of layers'),
    refused(status.INTERNAL, 'holdfast HOST_FAILURE: rename: EIO'),
  ]) {
    t.same(planAfterCreation(confirmation, REUSE), { kind: 'remove', status: confirmation.status });
    t.same(planAfterCreation(confirmation, DEFAULT), { kind: 'remove', status: confirmation.status });
  }
});

t.test('an error that gRPC itself may have made leaves the outcome unknown', async (t) => {
  const reset = refused(status.INTERNAL, 'Received RST_STREAM with code 2');
  t.match(planAfterCreation(reset, REUSE), { kind: 'keep-then-remove', agentProblem: /RST_STREAM/ });
  t.match(planAfterCreation(reset, DEFAULT), { kind: 'remove' }, 'no layer is at stake');
});

t.test('without an answer only a protected container is taken back', async (t) => {
  t.same(planAfterCreation(AWAY, REUSE), { kind: 'keep-then-remove', agentProblem: 'hangs' });
  t.same(planAfterCreation(AWAY, DEFAULT), { kind: 'answer', agentProblem: 'hangs' });
});

t.test('the stamp decides, then the annotations; what cannot be read is protected', async (t) => {
  const asksForReuse = { 'holdfast.dev/restart': 'reuse' };
  const plain = { [POLICY_ANNOTATION]: '{}' };
  const kindOf = (facts: Partial<typeof REUSE>) => planAfterCreation(AWAY, { ...DEFAULT, ...facts }).kind;
  t.equal(kindOf({ podAnnotations: asksForReuse }), 'keep-then-remove', 'no stamp');
  t.equal(kindOf({ podAnnotations: asksForReuse, containerAnnotations: plain }), 'answer', 'denied by the agent');
  t.equal(kindOf({ containerAnnotations: { [POLICY_ANNOTATION]: '{' } }), 'keep-then-remove');
  t.equal(kindOf({ podAnnotations: { 'holdfast.dev/numa': 'maybe' } }), 'keep-then-remove');
});
