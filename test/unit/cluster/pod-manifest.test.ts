// What is read from manifests: resources, kinds of containers, life; and that hostile text does no harm.
import fc from 'fast-check';
import t from 'tap';
import { MAX_MANIFEST_BYTES, parsePodManifests } from '../../../agent/cluster/pod-manifest.ts';
import { HoldfastError } from '../../../lib/errors.ts';

const refused = { code: 'INVALID_REQUEST' };

t.test('a pod with every kind of container', async (t) => {
  const { pods, complete } = parsePodManifests(`
apiVersion: v1
kind: Pod
metadata:
  name: db
  namespace: prod
  uid: 0f5a
  labels: {app: db}
  annotations: {holdfast.dev/restart: reuse}
spec:
  initContainers:
  - name: setup
  - name: logs
    restartPolicy: Always
    resources: {requests: {cpu: 100m}}
  containers:
  - name: main
    resources:
      requests: {memory: 1Gi}
      limits: {cpu: 2, memory: 1.5Gi, hugepages-2Mi: 64Mi, hugepages-1Gi: 0, ephemeral-storage: 1Gi}
`);
  t.equal(complete, false);
  t.strictSame(pods, [
    {
      uid: '0f5a',
      namespace: 'prod',
      name: 'db',
      labels: new Map([['app', 'db']]),
      annotations: new Map([['holdfast.dev/restart', 'reuse']]),
      containers: [
        { name: 'setup', kind: 'init', hugepages: new Map() },
        { name: 'logs', kind: 'sidecar', cpuRequest: 100, hugepages: new Map() },
        {
          name: 'main',
          kind: 'app',
          cpuRequest: 2000,
          cpuLimit: 2000,
          memoryRequest: 1024 ** 3,
          memoryLimit: 1.5 * 1024 ** 3,
          hugepages: new Map([[2 * 1024 ** 2, 64 * 1024 ** 2]]),
        },
      ],
      deleting: false,
      finished: false,
    },
  ]);
});

t.test('who keeps a pod on this node: its controller, or the kubelet itself', async (t) => {
  const read = (metadata: object) =>
    parsePodManifests(
      JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'a', ...metadata }, spec: { containers: [] } }),
    ).pods[0];
  const owner = { kind: 'Backup', controller: false };
  t.equal(read({ ownerReferences: [owner, { kind: 'DaemonSet', controller: true }] })?.controllerKind, 'DaemonSet');
  t.equal(read({ ownerReferences: [owner, { kind: 'Job' }] })?.controllerKind, undefined, 'an owner is no controller');
  t.equal(read({ ownerReferences: null })?.controllerKind, undefined);
  t.equal(read({ ownerReferences: [{ kind: 'k'.repeat(5000), controller: true }] })?.controllerKind?.length, 63);
  t.equal(read({ annotations: { 'kubernetes.io/config.mirror': 'hash' } })?.isStatic, true);
  t.equal(read({ annotations: { 'kubernetes.io/config.source': 'api' } })?.isStatic, undefined);
});

t.test('lists, several documents, JSON and absent fields', async (t) => {
  const { pods, complete } = parsePodManifests(`
# a comment
---
{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": null}}
---
apiVersion: v1
kind: PodList
metadata: {annotations: {holdfast.dev/complete: "true"}}
items:
- metadata: {name: b, deletionTimestamp: "2026-01-01T00:00:00Z"}
  spec: {}
- metadata: {name: c, uid: null}
  spec: {}
  status: {phase: Failed}
`);
  t.equal(complete, true);
  t.match(pods, [
    { name: 'a', namespace: 'default', uid: '', deleting: false },
    { name: 'b', deleting: true },
    { name: 'c', finished: true },
  ]);
  t.strictSame(parsePodManifests('{apiVersion: v1, kind: PodList, items: []}'), { pods: [], complete: false });
});

t.test('what cannot be read says what it is', async (t) => {
  const pod = (spec: string) => `{apiVersion: v1, kind: Pod, metadata: {name: x}, spec: ${spec}}`;
  for (const cutOff of ['', '# a comment\n', '---\n']) {
    t.throws(() => parsePodManifests(cutOff), { ...refused, message: /nothing in it/ });
  }
  t.throws(() => parsePodManifests('{'), refused);
  t.throws(() => parsePodManifests('just text'), refused);
  t.throws(() => parsePodManifests('{apiVersion: v1, kind: Secret}'), { ...refused, message: /kind/ });
  t.throws(() => parsePodManifests('{apiVersion: v1, kind: Pod, spec: {}}'), { ...refused, message: /metadata/ });
  t.throws(() => parsePodManifests(pod('{containers: [{}]}')), { ...refused, message: /containers\.0\.name/ });
  const badCpu = pod('{containers: [{name: c, resources: {limits: {cpu: many}}}]}');
  t.throws(() => parsePodManifests(badCpu), { ...refused, message: /pod default\/x: "many" is not a quantity/ });
});

t.test('hostile text is refused in bounded time', async (t) => {
  t.throws(() => parsePodManifests('x'.repeat(MAX_MANIFEST_BYTES + 1)), refused);
  t.throws(() => parsePodManifests(`${'['.repeat(100_000)}`), refused, 'nesting');
  const level = (n: number) =>
    `a${n}: &a${n} [${Array(9)
      .fill(`*a${n - 1}`)
      .join(',')}]\n`;
  const bomb = `a0: &a0 [lol]\n${[1, 2, 3, 4, 5, 6, 7, 8, 9].map(level).join('')}`;
  t.throws(() => parsePodManifests(`apiVersion: v1\nkind: Pod\n${bomb}`), refused, 'aliases');
  t.throws(() => parsePodManifests('&a [*a]'), refused, 'a list that holds itself');
  const { pods } = parsePodManifests(
    '{apiVersion: v1, kind: Pod, metadata: {name: x, labels: {__proto__: evil, constructor: c}}, spec: {}}',
  );
  t.equal(pods[0]?.labels.get('constructor'), 'c');
  t.equal(({} as Record<string, unknown>)['evil'], undefined);
});

t.test('any text gives pods or an INVALID_REQUEST', async () => {
  const yamlish = fc.stringMatching(/^[-a-z:{}[\]&*!|>'"#%@` \n0-9,?]{0,60}$/);
  const almostPod = fc
    .jsonValue()
    .map((value) => JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'x' }, spec: value }));
  const almostResources = fc
    .dictionary(fc.constantFrom('cpu', 'memory', 'hugepages-2Mi', 'hugepages-', '__proto__'), fc.jsonValue())
    .map((limits) =>
      JSON.stringify({
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name: 'x' },
        spec: { containers: [{ name: 'c', resources: { limits } }] },
      }),
    );
  fc.assert(
    fc.property(fc.oneof(yamlish, fc.string(), almostPod, almostResources), (text) => {
      try {
        return parsePodManifests(text).pods.every((pod) => pod.name !== '');
      } catch (error) {
        return error instanceof HoldfastError && error.code === 'INVALID_REQUEST';
      }
    }),
    { numRuns: 500 },
  );
});
