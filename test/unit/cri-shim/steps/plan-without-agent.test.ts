import fc from 'fast-check';
import t from 'tap';
import { isProtected, type PodPolicy } from '../../../../agent/model/policy.ts';
import {
  POLICY_ANNOTATION,
  readContainerStamp,
  stampContainerPolicy,
  stampPodPolicy,
} from '../../../../agent/model/policy-stamp.ts';
import { planCreationWithoutAgent, planRemovalWithoutAgent } from '../../../../cri-shim/steps/plan-without-agent.ts';

const FACTS = {
  containerName: 'web',
  podAnnotations: {},
  sandboxAnnotations: {},
  sharedCpus: '0-2',
  agentProblem: 'connection refused',
};

const policies = fc.record({
  restart: fc.constantFrom('rebuild' as const, 'reuse' as const),
  cpuset: fc.constantFrom('shared' as const, 'exclusive' as const),
  numa: fc.constantFrom('none' as const, 'preferred' as const, 'required' as const),
  numaScope: fc.constantFrom('pod' as const, 'container' as const),
});

t.test('a default container runs on the shared CPUs and is marked', async (t) => {
  const adjustment = planCreationWithoutAgent(FACTS);
  t.equal(adjustment.cpusetCpus, '0-2');
  t.same(readContainerStamp(adjustment.annotations), {
    restart: 'rebuild',
    cpuset: 'shared',
    numa: 'none',
    numaScope: 'pod',
  });
  const without = planCreationWithoutAgent({ ...FACTS, sharedCpus: undefined });
  t.equal(without.cpusetCpus, undefined, 'no mask published: the CPUs stay as asked for');
});

t.test('it fails exactly when the stamped or the asked policy is protected', async (t) => {
  fc.assert(
    fc.property(fc.option(policies, { nil: undefined }), policies, (stamped, asked) => {
      const sandboxAnnotations: Record<string, string> =
        stamped === undefined ? {} : { [POLICY_ANNOTATION]: stampPodPolicy({ ...stamped, containers: new Map() }) };
      const podAnnotations = {
        'holdfast.dev/restart': asked.restart,
        'web.holdfast.dev/cpuset': asked.cpuset,
        'holdfast.dev/numa': asked.numa,
      };
      const expected = isProtected(asked) || (stamped !== undefined && isProtected(stamped));
      try {
        planCreationWithoutAgent({ ...FACTS, podAnnotations, sandboxAnnotations });
        return !expected;
      } catch (error) {
        return expected && error instanceof Error && error.message.includes('connection refused');
      }
    }),
  );
  t.pass('property holds');
});

t.test('the policy is that of the container, not of its neighbours', async (t) => {
  const pod: PodPolicy = {
    restart: 'rebuild',
    cpuset: 'shared',
    numa: 'none',
    numaScope: 'pod',
    containers: new Map([['db', { restart: 'reuse', cpuset: 'shared', numa: 'none', numaScope: 'pod' }]]),
  };
  const sandboxAnnotations = { [POLICY_ANNOTATION]: stampPodPolicy(pod) };
  t.ok(planCreationWithoutAgent({ ...FACTS, sandboxAnnotations }));
  t.throws(() => planCreationWithoutAgent({ ...FACTS, sandboxAnnotations, containerName: 'db' }), {
    code: 'UNAVAILABLE',
    message: /"db" has restart: reuse.*tries again/,
  });
});

t.test('annotations with values that do not exist are refused for good', async (t) => {
  const podAnnotations = { 'holdfast.dev/restart': 'reuze' };
  t.throws(() => planCreationWithoutAgent({ ...FACTS, podAnnotations }), {
    code: 'INVALID_REQUEST',
    message: /holdfast.dev\/restart is "reuze"/,
  });
});

t.test('what cannot be read counts as protected', async (t) => {
  for (const damaged of ['', '{', '[]', '{"restart":"sometimes"}']) {
    const annotations = { [POLICY_ANNOTATION]: damaged };
    t.throws(() => planCreationWithoutAgent({ ...FACTS, sandboxAnnotations: annotations }), { code: 'UNAVAILABLE' });
    t.throws(() => planRemovalWithoutAgent([{ id: 'c', name: 'web', annotations }], 'x'), { code: 'UNAVAILABLE' });
  }
});

t.test('removal fails exactly when one of the containers is protected', async (t) => {
  fc.assert(
    fc.property(fc.array(fc.option(policies, { nil: undefined }), { maxLength: 4 }), (stamps) => {
      const containers = stamps.map((policy, index) => ({
        id: `c${index}`,
        name: `n${index}`,
        annotations: (policy === undefined ? {} : { [POLICY_ANNOTATION]: stampContainerPolicy(policy) }) as Record<
          string,
          string
        >,
      }));
      const expected = stamps.some((policy) => policy !== undefined && isProtected(policy));
      try {
        planRemovalWithoutAgent(containers, 'hangs');
        return !expected;
      } catch (error) {
        return expected && error instanceof Error && /removing it would destroy.*\(hangs\)/.test(error.message);
      }
    }),
  );
  t.pass('property holds');
});
