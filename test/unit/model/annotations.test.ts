import fc from 'fast-check';
import t from 'tap';
import { parsePodPolicy } from '../../../agent/model/annotations.ts';
import { DEFAULT_POLICY, isProtected, policyOf } from '../../../agent/model/policy.ts';

t.test('nothing said means the defaults', async (t) => {
  const policy = parsePodPolicy({ 'kubernetes.io/x': 'y' }, DEFAULT_POLICY);
  t.match(policy, DEFAULT_POLICY);
  t.equal(policy.containers.size, 0);
  t.notOk(isProtected(policy));
});

t.test('a container annotation overrides the pod annotation for that container only', async (t) => {
  const policy = parsePodPolicy(
    { 'holdfast.dev/cpuset': 'exclusive', 'log.holdfast.dev/cpuset': 'shared', 'log.holdfast.dev/numa': 'preferred' },
    DEFAULT_POLICY,
  );
  t.equal(policyOf(policy, 'web').cpuset, 'exclusive');
  t.equal(policyOf(policy, 'web').numaScope, 'pod');
  t.match(policyOf(policy, 'log'), { cpuset: 'shared', numa: 'preferred', numaScope: 'container' });
});

t.test('an unknown value is refused with the annotation and what it may be', async (t) => {
  t.throws(() => parsePodPolicy({ 'holdfast.dev/numa': 'must' }, DEFAULT_POLICY), {
    code: 'INVALID_REQUEST',
    message: /holdfast\.dev\/numa is "must"; use one of "none", "preferred", "required"/,
  });
  t.throws(() => parsePodPolicy({ 'holdfast.dev/cpuset': 'group=a' }, DEFAULT_POLICY), {
    message: /not in this version/,
  });
});

t.test('annotations of other features and other domains are left alone', async (t) => {
  const annotations = {
    'holdfast.dev/eviction': 'protect',
    'evilholdfast.dev/cpuset': 'nonsense',
    'holdfast.dev/__proto__': 'x',
    'holdfast.dev/constructor': 'x',
    cpuset: 'nonsense',
  };
  t.match(parsePodPolicy(annotations, DEFAULT_POLICY), DEFAULT_POLICY);
});

t.test('no annotations whatever crash the parser', async () => {
  const key = fc.oneof(
    fc.string(),
    fc.tuple(fc.string(), fc.constantFrom('restart', 'cpuset', 'numa')).map(([a, b]) => `${a}.holdfast.dev/${b}`),
  );
  fc.assert(
    fc.property(fc.dictionary(key, fc.string()), (annotations) => {
      try {
        parsePodPolicy(annotations, DEFAULT_POLICY);
        return true;
      } catch (error) {
        return error instanceof Error && 'code' in error && error.code === 'INVALID_REQUEST';
      }
    }),
  );
});
