// Whose a sandbox is: what the kubelet said first, else what the runtime hands over, and never what another pod said.
import t from 'tap';
import type { PodUid } from '../../../agent/model/ids.ts';
import { Owners, type ToldPod } from '../../../agent/network/owners.ts';
import { mayReleaseEarly, type OwnerRules, planOwner } from '../../../agent/network/plan-owner.ts';

const RULES: OwnerRules = { appLabel: 'app', defaultIp: 'none', byNamespace: new Map([['dbs', 'keep']]) };

function podOf(uid: string, annotations: Readonly<Record<string, string>>, labels = { app: 'web' }): ToldPod {
  const maps = { labels: new Map(Object.entries(labels)), annotations: new Map(Object.entries(annotations)) };
  return { uid: uid as PodUid, namespace: 'default', name: 'web-1', ...maps };
}

const HINT = { namespace: 'default', name: 'web-1', uid: 'u1' };

t.test('labels are what the kubelet said; without it the annotations that the runtime hands over', async (t) => {
  const owners = new Owners(RULES);
  const unknown = { pod: { namespace: 'default', name: 'web-1' }, uid: 'u1', ip: 'none' };
  t.strictSame(owners.ownerOf(HINT), unknown);
  t.equal(owners.ownerOf({ ...HINT, annotations: { 'holdfast.dev/ip': 'keep' } }).ip, 'keep');
  owners.expect(podOf('u1', { 'holdfast.dev/ip': 'app' }));
  t.match(owners.ownerOf(HINT), { ip: 'app', app: { namespace: 'default', name: 'web' } });
  t.equal(owners.ownerOf({ ...HINT, name: 'web-2' }).ip, 'none', 'not for another pod');
  t.equal(owners.ownerOf({ ...HINT, namespace: 'evil' }).ip, 'none', 'nor another namespace');
  t.equal(owners.ownerOf({ namespace: 'default', name: 'web-1' }).ip, 'none', 'nor without the UID');
  owners.expect(podOf('u1', {}));
  t.equal(owners.ownerOf(HINT).ip, 'none', 'what is said last counts');
});

t.test('a sandbox that is no pod’s has no owner', async (t) => {
  t.strictSame(new Owners(RULES).ownerOf({}), { ip: 'none' });
});

t.test('what does not exist is refused where the kubelet shows why', async (t) => {
  const owners = new Owners(RULES);
  for (const annotations of [
    { 'holdfast.dev/ip': 'sticky' },
    { 'holdfast.dev/ip-release': 'never' },
    { 'holdfast.dev/app': '../evil' },
    { 'holdfast.dev/app': '' },
    { 'holdfast.dev/app': `a${'b'.repeat(300)}` },
  ]) {
    t.throws(() => owners.expect(podOf('u', annotations)), { code: 'INVALID_REQUEST' }, JSON.stringify(annotations));
  }
  t.throws(() => owners.expect(podOf('u', { 'holdfast.dev/ip': 'app' }, {} as { app: string })), /no app/);
});

t.test('the most recent pods are remembered, however many come', async (t) => {
  const owners = new Owners(RULES);
  for (let n = 0; n < 5000; n += 1) owners.expect(podOf(`u${n}`, { 'holdfast.dev/ip': 'keep' }));
  t.equal(owners.ownerOf({ ...HINT, uid: 'u0' }).ip, 'none');
  t.equal(owners.ownerOf({ ...HINT, uid: 'u4999' }).ip, 'keep');
});

t.test('the namespace decides where the pod does not', async (t) => {
  const pod = { namespace: 'dbs', name: 'x' };
  t.equal(planOwner(pod, RULES).ip, 'keep');
  t.equal(planOwner({ ...pod, annotations: new Map([['holdfast.dev/ip', 'none']]) }, RULES).ip, 'none');
  t.equal(
    planOwner({ namespace: 'other', name: 'x' }, { ...RULES, defaultIp: 'app' }).ip,
    'none',
    'no app, no reserve',
  );
});

t.test('early release is for pods with a reserve', async (t) => {
  const early = new Map([
    ['holdfast.dev/ip-release', 'early'],
    ['holdfast.dev/app', 'web'],
  ]);
  t.equal(planOwner({ namespace: 'n', name: 'x', annotations: early }, RULES).early, undefined);
  const app = new Map([...early, ['holdfast.dev/ip', 'app']]);
  t.equal(planOwner({ namespace: 'n', name: 'x', annotations: app }, RULES).early, true);
  t.ok(mayReleaseEarly(app));
  t.notOk(mayReleaseEarly(new Map()));
});
