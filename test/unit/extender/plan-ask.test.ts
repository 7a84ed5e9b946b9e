// Pods that every node will refuse are refused by the extender, with the node's words.
import { create } from '@bufbuild/protobuf';
import t from 'tap';
import { podNeedOf } from '../../../agent/cpuset/pod-asks.ts';
import { type NamespaceRules, type PolicyRules, planPolicy } from '../../../agent/lifecycle/plan-policy.ts';
import { podFromCri } from '../../../agent/lifecycle/pod-from-cri.ts';
import type { PodFacts } from '../../../agent/model/pod.ts';
import { milliCpu } from '../../../agent/model/quantity.ts';
import { planAsk } from '../../../extender/planning/plan-ask.ts';
import { describeError } from '../../../lib/errors.ts';
import { PodSandboxConfigSchema } from '../../../proto/gen/wire/cri/v1/cri_pb.ts';
import { NO_POLICY_RULES } from '../../support/published-host.ts';
import { podFacts, REQUIRED_EXCLUSIVE } from '../../support/random-pods.ts';

/** A pod that can own no whole CPUs. */
const halfPod = (annotations: Readonly<Record<string, string>>): PodFacts =>
  podFacts('p', annotations, { cpuLimit: milliCpu(1500) });

const inDefault = (namespace: Partial<NamespaceRules>): PolicyRules => ({
  ...NO_POLICY_RULES,
  namespaces: new Map([['default', { defaults: {}, deny: [], ...namespace }]]),
});

/** What the agent of any node throws when the pod's sandbox is to be made, before it looks for room. */
function thrownByAgent(facts: PodFacts, rules: PolicyRules): string | undefined {
  const { uid, namespace, name } = facts;
  const annotations = Object.fromEntries(facts.annotations);
  const config = create(PodSandboxConfigSchema, { metadata: { uid, namespace, name }, annotations });
  try {
    podNeedOf(podFromCri(config, planPolicy(namespace, annotations, rules).policy, facts));
    return undefined;
  } catch (error) {
    return describeError(error);
  }
}

await t.test('a pod that is required by its annotations or by a default is refused as every node would', async (t) => {
  const required = inDefault({ defaults: { numa: 'required', cpuset: 'exclusive' } });
  const denied = inDefault({ deny: ['required'] });
  const cases: readonly (readonly [string, PodFacts, PolicyRules, RegExp])[] = [
    ['half a CPU', halfPod(REQUIRED_EXCLUSIVE), NO_POLICY_RULES, /whole CPUs.*its CPU limit is 1.5/],
    ['half a CPU by a default of the namespace', halfPod({}), required, /whole CPUs.*its CPU limit is 1.5/],
    [
      'half a CPU by a default of the node',
      halfPod({ 'app.holdfast.dev/cpuset': 'exclusive' }),
      { ...NO_POLICY_RULES, defaults: { numa: 'required' } },
      /whole CPUs/,
    ],
    ['denied', halfPod({ 'holdfast.dev/numa': 'required' }), denied, /may not have numa "required"/],
    ['a policy that does not exist', halfPod({ 'holdfast.dev/numa': 'require' }), NO_POLICY_RULES, /numa is "require"/],
    [
      'a typo beside',
      halfPod({ 'app.holdfast.dev/numa': 'required', 'holdfast.dev/cpuset': 'own' }),
      NO_POLICY_RULES,
      /"own"/,
    ],
    ['a typo in another policy', halfPod({ 'holdfast.dev/restart': 'again' }), NO_POLICY_RULES, /restart is "again"/],
  ];
  for (const [what, facts, rules, words] of cases) {
    const ask = planAsk(facts, rules);
    t.match(ask, { refused: words }, what);
    t.match(ask, { refused: thrownByAgent(facts, rules) }, `${what}: the agent's words`);
  }
});

await t.test('a pod that no default and no annotation makes required is left alone', async (t) => {
  const half = halfPod({ 'holdfast.dev/cpuset': 'exclusive' });
  t.match(planAsk(half, NO_POLICY_RULES), { numa: 'none', isFirm: false });
  t.match(planAsk(half, inDefault({ defaults: { numa: 'preferred' } })), { numa: 'none', isFirm: false });
  const freed = halfPod({ 'holdfast.dev/numa': 'none', 'holdfast.dev/cpuset': 'exclusive' });
  t.match(planAsk(freed, inDefault({ defaults: { numa: 'required' } })), { numa: 'none' }, 'its annotation wins');
  const ignored = { ...inDefault({ deny: ['required'] }), onDenied: 'ignore' } as const;
  t.match(planAsk(halfPod({ 'holdfast.dev/numa': 'required' }), ignored), { numa: 'preferred' });
});

await t.test('a pod that is required by a default is planned as one that says so itself', async (t) => {
  const rules = inDefault({ defaults: { numa: 'required' } });
  t.match(planAsk(halfPod({}), rules), { numa: 'required', together: { exclusive: 0, shared: true } });
});

await t.test('what a pod wrote is not repeated whole for every node', async (t) => {
  const long = halfPod({ 'holdfast.dev/numa': 'x'.repeat(200_000) });
  const ask = planAsk(long, NO_POLICY_RULES);
  t.ok('refused' in ask && ask.refused.length < 600);
});
