// Hosts in network namespaces, each with a runtime, an agent and a shim of its own: one link joins their pods, another one
// leads to etcd.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Test } from 'tap';
import { type EtcdCluster, startEtcd } from '../../support/etcd.ts';
import { makeNamespace, type TestNamespace } from '../../support/network-namespaces.ts';
import { type NetworkNode, startNetworkNode } from './network-node.ts';

const execute = promisify(execFile);

/** The pods' link: pods are below .200, the outsider is .250. */
const PODS = '10.94.7';
const MANAGEMENT = '10.94.8';
const OUTSIDER = `${PODS}.250`;

/** Short, for tests wait for them to end; long enough to restart a pod while etcd is away. */
export const LEASE_TTL_S = 12;
export const FENCING_DELAY_S = 3;

export interface SharingNode extends NetworkNode {
  readonly nodeName: string;
  readonly namespace: TestNamespace;
  /** Cuts it off etcd, or joins it again. */
  readonly setManagement: (isUp: boolean) => Promise<void>;
}

export interface Cluster {
  readonly etcd: EtcdCluster;
  readonly hosts: readonly SharingNode[];
  /** On the pods' link, and no pod. */
  readonly outsider: TestNamespace;
}

async function ip(words: string): Promise<void> {
  await execute('ip', words.split(' '));
}

/** A cable from the namespace to a bridge that is in the other one, or here. */
async function plug(namespace: TestNamespace, ifname: string, bridge: string, of?: TestNamespace): Promise<void> {
  const outer = `hfc${process.pid}${Math.random().toString(36).slice(2, 6)}`.slice(0, 15);
  await namespace.ip(
    `link add ${ifname} type veth peer name ${outer} netns ${of === undefined ? process.pid : of.name}`,
  );
  const words = `link set ${outer} master ${bridge} up`;
  await (of === undefined ? ip(words) : of.ip(words));
  await namespace.ip(`link set ${ifname} up`);
}

/** @param ranges - of the addresses that pods may have; `*` is the subnet's part of them */
export async function startCluster(t: Test, count: number, ranges: readonly string[]): Promise<Cluster> {
  const management = `hfmg${process.pid}`;
  await ip(`link add ${management} type bridge`);
  t.teardown(() => ip(`link del ${management}`));
  await ip(`addr add ${MANAGEMENT}.1/24 dev ${management}`);
  await ip(`link set ${management} up`);
  const fabric = await makeNamespace(t, 'fabric');
  await fabric.ip('link add lan type bridge');
  await fabric.ip('link set lan up');
  const outsider = await makeNamespace(t, 'outsider');
  await plug(outsider, 'eth0', 'lan', fabric);
  await outsider.ip(`addr add ${OUTSIDER}/24 dev eth0`);
  const etcd = await startEtcd(t, { members: 1, address: `${MANAGEMENT}.1` });
  const network = {
    collectAfter: '1h',
    cooldown: '0s',
    store: {
      etcd: { endpoints: etcd.urls, leaseTtl: `${LEASE_TTL_S}s`, fencingDelay: `${FENCING_DELAY_S}s` },
    },
    pools: { pods: { subnets: [{ cidr: `${PODS}.0/24`, ranges: ranges.map((each) => each.replaceAll('*', PODS)) }] } },
  };
  const hosts: SharingNode[] = [];
  for (let index = 0; index < count; index += 1) {
    const nodeName = `host-${String.fromCharCode(97 + index)}`;
    const namespace = await makeNamespace(t, nodeName);
    await namespace.ip('link set lo up');
    await plug(namespace, 'mgmt0', management);
    await namespace.ip(`addr add ${MANAGEMENT}.${10 + index}/24 dev mgmt0`);
    await plug(namespace, 'up0', 'lan', fabric);
    const node = await startNetworkNode(t, {
      network,
      namespace,
      config: { nodeName, podSource: { staticManifests: 'off' } },
      plugin: { uplink: 'up0' },
    });
    hosts.push({
      ...node,
      nodeName,
      namespace,
      setManagement: async (isUp) => {
        await namespace.ip(`link set mgmt0 ${isUp ? 'up' : 'down'}`);
      },
    });
  }
  return { etcd, hosts, outsider };
}
