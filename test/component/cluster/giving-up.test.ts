// Giving up as the agent does it: its configuration, its pod source and its API server, over real HTTPS.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { Registry as MetricsRegistry } from 'prom-client';
import t, { type Test } from 'tap';
import { pollUntil } from '../../../agent/cli/quickstart/poll.ts';
import { openPodSource } from '../../../agent/cluster/open-pod-source.ts';
import { agentConfigSchema } from '../../../agent/config/schema.ts';
import { openHostTree } from '../../../agent/host/host-tree.ts';
import { LifecycleLocks } from '../../../agent/lifecycle/locks.ts';
import { Refusals } from '../../../agent/lifecycle/refusals.ts';
import { Registry } from '../../../agent/lifecycle/registry.ts';
import { containerId, podUid, sandboxId } from '../../../agent/model/ids.ts';
import { DEFAULT_POLICY } from '../../../agent/model/policy.ts';
import { buildGivingUp } from '../../../agent/wiring/giving-up.ts';
import { FakeApiServer } from '../../support/fake-api-server.ts';
import { makeAuthority } from '../../support/test-certificates.ts';

const { signal } = new AbortController();
const PATIENCE_MS = 60_000;
const AFTER_MS = 120_000;
const NODE = 'node-1';

const folder = await mkdtemp(join(os.tmpdir(), 'holdfast-giving-up-'));
t.teardown(() => rm(folder, { recursive: true, force: true }));
const { ca, identity } = await makeAuthority(folder).then(async (authority) => ({
  ca: authority.ca,
  identity: await authority.issue('api server', 'IP:127.0.0.1'),
}));

/** @param create - the pods that the API server has from the beginning */
async function build(t: Test, giveUpBy: 'fail' | 'delete', create: (api: FakeApiServer) => void) {
  const api = new FakeApiServer(identity, ca);
  create(api);
  await api.start();
  t.teardown(() => api.stop());
  const own = await mkdtemp(join(folder, 'node-'));
  const kubeconfig = join(own, 'kubeconfig');
  const manifests = join(own, 'manifests');
  await mkdir(manifests);
  const cluster = { server: api.url, 'certificate-authority-data': Buffer.from(ca).toString('base64') };
  const content = {
    'current-context': 'c',
    contexts: [{ name: 'c', context: { cluster: 'c', user: 'u' } }],
    clusters: [{ name: 'c', cluster }],
    users: [{ name: 'u', user: { token: 'x' } }],
  };
  await writeFile(kubeconfig, JSON.stringify(content));
  const config = agentConfigSchema.parse({
    apiVersion: 'holdfast.dev/v1',
    kind: 'AgentConfig',
    podSource: { api: { kubeconfig } },
    refusal: { giveUpAfter: `${AFTER_MS / 1000}s`, giveUpBy },
  });
  const tree = await openHostTree('/');
  const logger = pino({ level: 'silent' });
  const metrics = new MetricsRegistry();
  const podSource = await openPodSource({
    api: config.podSource.api,
    file: undefined,
    staticManifests: manifests,
    nodeName: NODE,
    tree,
    metrics,
    logger,
  });
  t.teardown(() => podSource.close());
  const clock = { now: 0 };
  const refusals = new Refusals(() => clock.now);
  const registry = new Registry();
  const kept = new Set<string>();
  const feature = {
    name: 'keeper',
    pods: () => [...kept].map((uid) => ({ uid: podUid(uid), namespace: 'default', name: uid })),
  };
  const features = [feature];
  const locks = new LifecycleLocks();
  const look = buildGivingUp({ config, tree, podSource, features, registry, locks, refusals, metrics, logger });
  if (look === undefined) throw new Error('the configuration gives no pod up');
  const lookAfterRefusing = async (name: string, uid = `uid-${name}`): Promise<void> => {
    const pod = { uid: podUid(uid), namespace: 'default', name };
    const isKnown = (): boolean => podSource.phaseOf(pod) === 'present';
    await pollUntil(`${name} in the pod source`, PATIENCE_MS, async () => isKnown() || undefined);
    refusals.refused(pod, 'no room');
    clock.now += AFTER_MS;
    refusals.refused(pod, 'no room');
    await look(signal);
  };
  const ended = async (): Promise<string> => await metrics.getSingleMetricAsString('holdfast_pods_given_up_total');
  return { api, manifests, registry, kept, lookAfterRefusing, ended };
}

const ownedBy = (kind: string) => ({ ownerReferences: [{ kind, controller: true }] });

for (const by of ['fail', 'delete'] as const) {
  t.test(`${by}: a pod without room is ended, and counted`, async (t) => {
    const { api, lookAfterRefusing, ended } = await build(t, by, (server) => {
      server.create('web', ownedBy('ReplicaSet'));
      server.create('bare');
    });
    await lookAfterRefusing('web');
    t.match(await ended(), /\{result="ended"\} 1/);
    await lookAfterRefusing('bare');
    t.match(await ended(), /\{result="ended"\} 2/);
    const left = api.pods().filter(({ status }) => status?.phase !== 'Failed');
    t.same(left, []);
  });

  t.test(`${by}: a pod of which a container runs, or may run, stays`, async (t) => {
    const { api, registry, lookAfterRefusing } = await build(t, by, (server) => void server.create('web'));
    for (const state of ['created', 'running', 'unknown'] as const) {
      registry.putContainer({
        id: containerId('c1'),
        sandboxId: sandboxId('s1'),
        podUid: podUid('uid-web'),
        name: 'main',
        attempt: 0,
        policy: DEFAULT_POLICY,
        state,
      });
      await lookAfterRefusing('web');
      t.same(api.requestsOf('write'), [], state);
    }
    registry.setState(containerId('c1'), 'exited');
    await lookAfterRefusing('web');
    t.equal(api.requestsOf('write').length, 1, 'one that has exited holds nothing here');
  });

  t.test(`${by}: a pod for which a feature keeps something stays`, async (t) => {
    const { api, kept, lookAfterRefusing } = await build(t, by, (server) => void server.create('web'));
    kept.add('uid-web');
    await lookAfterRefusing('web');
    t.same(api.requestsOf('write'), []);
  });

  t.test(`${by}: pods that can go nowhere else stay`, async (t) => {
    const { api, manifests, lookAfterRefusing } = await build(t, by, (server) => {
      server.create('agent', ownedBy('DaemonSet'));
      const annotations = { 'kubernetes.io/config.mirror': 'hash' };
      server.create(`etcd-${NODE}`, { uid: 'mirror', annotations, ...ownedBy('Node') });
      server.create(`plain-${NODE}`, { uid: 'mirror-2', annotations });
    });
    await lookAfterRefusing('agent');
    await lookAfterRefusing(`etcd-${NODE}`, 'hash');
    await lookAfterRefusing(`plain-${NODE}`, 'hash');
    const manifest = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'dns' }, spec: { containers: [] } };
    await writeFile(join(manifests, 'dns.yaml'), JSON.stringify(manifest));
    await lookAfterRefusing(`dns-${NODE}`, 'hash-of-dns');
    t.same(api.requestsOf('write'), []);
  });

  t.test(`${by}: a pod that could not be ended is tried again, and both are counted`, async (t) => {
    const { api, lookAfterRefusing, ended } = await build(t, by, (server) => void server.create('web'));
    api.answerNext('write', (response) => response.destroy());
    await lookAfterRefusing('web');
    t.match(await ended(), /\{result="failed"\} 1/);
    await lookAfterRefusing('web');
    t.match(await ended(), /\{result="ended"\} 1/);
  });
}
