import t from 'tap';
import { isDefaultPolicy, type PolicyRules, planPolicy } from '../../../agent/lifecycle/plan-policy.ts';

const rules: PolicyRules = {
  onDenied: 'refuse',
  defaults: { numa: 'preferred' },
  turnedOff: [],
  namespaces: new Map([
    ['db', { defaults: { restart: 'reuse' }, deny: [] }],
    ['guest', { defaults: {}, deny: ['exclusive', 'required'] }],
  ]),
};

t.test('the annotation beats the namespace, the namespace beats the node', async (t) => {
  t.match(planPolicy('other', {}, rules).policy, { restart: 'rebuild', numa: 'preferred' });
  t.match(planPolicy('db', {}, rules).policy, { restart: 'reuse', numa: 'preferred' });
  t.match(planPolicy('db', { 'holdfast.dev/restart': 'rebuild' }, rules).policy, { restart: 'rebuild' });
});

t.test('what a namespace may not have is refused with the setting that says so', async (t) => {
  t.throws(() => planPolicy('guest', { 'web.holdfast.dev/cpuset': 'exclusive' }, rules), {
    code: 'NOT_GRANTED',
    message: /guest may not have cpuset "exclusive" of container web.*policy\.namespaces\.guest\.deny/,
  });
});

t.test('or ignored, and said to be', async (t) => {
  const { policy, ignored } = planPolicy(
    'guest',
    { 'holdfast.dev/cpuset': 'exclusive', 'holdfast.dev/numa': 'required' },
    { ...rules, onDenied: 'ignore' },
  );
  t.match(policy, { cpuset: 'shared', numa: 'preferred' });
  t.same(ignored, ['cpuset "exclusive"', 'numa "required"']);
});

t.test('a feature that is turned off is had by nobody', async (t) => {
  const off: PolicyRules = { ...rules, turnedOff: ['reuse'] };
  t.throws(() => planPolicy('other', { 'holdfast.dev/restart': 'reuse' }, off), {
    code: 'NOT_GRANTED',
    message: /reuse.enabled/,
  });
  t.match(planPolicy('db', {}, { ...off, onDenied: 'ignore' }), {
    policy: { restart: 'rebuild' },
    ignored: ['restart "reuse"'],
  });
});

t.test('a default policy is one that changes nothing', async (t) => {
  const plain: PolicyRules = { onDenied: 'refuse', defaults: {}, turnedOff: [], namespaces: new Map() };
  t.ok(isDefaultPolicy(planPolicy('a', {}, plain).policy));
  t.notOk(isDefaultPolicy(planPolicy('a', { 'web.holdfast.dev/restart': 'reuse' }, plain).policy));
});
