// The feature between the lifecycle and the CNI plugin: whose a sandbox is, and addresses that go before the containers do.
import { pino } from 'pino';
import { Registry } from 'prom-client';
import t from 'tap';
import type { PodPhase } from '../../../agent/cluster/pod-source.ts';
import type { Container, Pod } from '../../../agent/model/pod.ts';
import type { AddRequest, DataPlane } from '../../../agent/network/cni/request.ts';
import { createNetwork } from '../../../agent/network/feature.ts';
import { fakePodLinks } from '../../support/fake-pod-links.ts';
import { fakeRuntime } from '../../support/fake-runtime.ts';
import { memoryLeaseStore } from '../../support/memory-lease-store.ts';
import { poolOf, sandboxOf } from '../../support/test-leases.ts';

const SIGNAL = new AbortController().signal;
const BRIDGE: DataPlane = { mode: 'bridge', bridge: 'br', hairpin: false };

const EARLY = {
  'holdfast.dev/ip': 'app',
  'holdfast.dev/app': 'web',
  'holdfast.dev/ip-release': 'early',
};

function podOf(annotations: Readonly<Record<string, string>>): Pod {
  return {
    uid: 'u1' as Pod['uid'],
    namespace: 'default',
    name: 'web-1',
    labels: new Map(),
    annotations: new Map(Object.entries(annotations)),
    policy: {} as Pod['policy'],
    cgroupParent: '',
    sandboxResources: {} as Pod['sandboxResources'],
  };
}

function start(phase: PodPhase) {
  const links = fakePodLinks();
  const told: unknown[] = [];
  const network = createNetwork({
    sharing: undefined,
    store: memoryLeaseStore(),
    host: 'a',
    links,
    ensureMasquerade: async () => false,
    runtime: fakeRuntime(),
    lookAtNamespaces: async (paths) => ({ present: new Set(paths), inhabited: new Set(paths) }),
    podSource: { phaseOf: () => phase },
    logger: pino({ level: 'silent' }),
    registry: new Registry(),
    audit: { append: (event) => void told.push(event), read: async (limit) => told.slice(-limit) },
    now: () => 1,
    monotonic: () => 1,
    options: {
      pools: [poolOf('default', '192.0.2.0/29')],
      defaultPool: 'default',
      leases: { keepFor: 1000, reserve: { cap: 3, keepFor: 1000 }, cooldown: 0 },
      owners: { appLabel: 'app', defaultIp: 'none', byNamespace: new Map() },
      collectAfter: 100,
    },
  });
  const join = async (dataPlane: DataPlane, annotations: Readonly<Record<string, string>>): Promise<Pod> => {
    const pod = podOf(annotations);
    await network.recover?.(SIGNAL);
    await network.sandboxCreating?.({ pod, signal: SIGNAL } as Parameters<
      NonNullable<typeof network.sandboxCreating>
    >[0]);
    const hint = { namespace: pod.namespace, name: pod.name, uid: pod.uid };
    const config = { name: 'pods', dataPlane };
    const request: AddRequest = { command: 'ADD', id: sandboxOf('s1'), netns: '/n', config, pod: hint };
    await network.cni.add(request, SIGNAL);
    return pod;
  };
  const stop = async (pod: Pod): Promise<void> => {
    const container = { sandboxId: 's1' } as unknown as Container;
    await network.containerStopping?.({ pod, container, signal: SIGNAL });
    await network.close();
  };
  return { network, links, join, stop };
}

async function statesOf({ network }: ReturnType<typeof start>): Promise<readonly string[]> {
  return (await network.admin.list(SIGNAL)).map(({ state }) => state);
}

t.test('the address of a deleted pod is its app’s before its containers stop', async (t) => {
  const host = start('deleting');
  await host.stop(await host.join(BRIDGE, EARLY));
  t.strictSame(await statesOf(host), ['reserved']);
  t.equal(host.links.ends.size, 0);
  const events = (await host.network.admin.handovers(10)).map(({ event }) => event);
  t.strictSame(events, ['granted', 'reserved']);
});

t.test('a stop passes when the address cannot be given back, and DEL does it', async (t) => {
  const host = start('deleting');
  const pod = await host.join(BRIDGE, EARLY);
  host.links.once('quiesce', async () => {
    throw new Error('the kernel refused');
  });
  await host.stop(pod);
  t.strictSame(await statesOf(host), ['held'], 'it may still be speaking');
  const config = { name: 'pods', dataPlane: BRIDGE };
  await host.network.cni.del({ command: 'DEL', id: sandboxOf('s1'), config }, SIGNAL);
  t.strictSame(await statesOf(host), ['reserved']);
});

t.test('a container that stops for another reason costs its pod nothing', async (t) => {
  const host = start('present');
  await host.stop(await host.join(BRIDGE, EARLY));
  t.strictSame(await statesOf(host), ['held']);
});

t.test('a pod that did not ask keeps its address until it is taken off', async (t) => {
  const host = start('deleting');
  const { 'holdfast.dev/ip-release': _, ...normal } = EARLY;
  await host.stop(await host.join(BRIDGE, normal));
  t.strictSame(await statesOf(host), ['held']);
});

t.test('another plugin’s interface goes on speaking: its address waits for DEL', async (t) => {
  const host = start('deleting');
  await host.stop(await host.join({ mode: 'ipam' }, EARLY));
  t.strictSame(await statesOf(host), ['held']);
  t.strictSame(host.links.calls, ['list hf'], 'nothing of the host is touched');
});

t.test('pools tell how much of them is whose', async (t) => {
  const host = start('present');
  await host.join(BRIDGE, {});
  t.match(await host.network.admin.pools(SIGNAL), [
    { name: 'default', subnets: [{ cidr: '192.0.2.0/29', size: '6', held: 1, reserved: 0 }] },
  ]);
});
