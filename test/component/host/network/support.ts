// A host and its pods in namespaces of their own, joined by the real data plane.
import { setMaxListeners } from 'node:events';
import type { Test } from 'tap';
import { openNetworkNamespace } from '../../../../agent/host/netlink/namespace.ts';
import { createPodLinks } from '../../../../agent/host/network/create-pod-links.ts';
import { openPacketSocket, type PacketSocket } from '../../../../agent/host/network/packet-socket.ts';
import type { LinkAddress, LinkDataPlane, LinkPlan, PodLinks } from '../../../../agent/host/network/pod-links.ts';
import { makeNamespace, type TestNamespace } from '../../../support/network-namespaces.ts';

/** One instruction: return all of it. */
const ALL_FRAMES = Buffer.from('06000000ffff0000', 'hex');

export const NEVER = new AbortController().signal;
// One signal for everything a test does at once; a real request has one of its own.
setMaxListeners(0, NEVER);

export interface TestHost {
  readonly links: PodLinks;
  readonly host: TestNamespace;
}

export async function startHost(t: Test, options: { readonly announcePauseMs?: number } = {}): Promise<TestHost> {
  const host = await makeNamespace(t, 'host');
  await host.ip('link set lo up');
  const links = await createPodLinks({ owner: '0a1b2c', hostNamespace: host.path, ...options });
  t.teardown(() => links.close());
  return { links, host };
}

/** Two hosts whose bridges are to be one link, by their interfaces `up0`. */
export async function startJoinedHosts(
  t: Test,
  options: { readonly announcePauseMs?: number } = {},
): Promise<readonly [TestHost, TestHost]> {
  const [left, right] = [await startHost(t, options), await startHost(t, options)];
  await left.host.ip(`link add up0 type veth peer name up0 netns ${right.host.name}`);
  for (const { host } of [left, right]) {
    // With an address of its own it does not get another one, and forget its neighbours, whenever a port comes or goes.
    await host.ip(
      `link add hfbr0 address ${host === left.host ? '02:00:00:00:01:01' : '02:00:00:00:01:02'} type bridge`,
    );
    await host.ip('link set up0 master hfbr0');
    await host.ip('link set up0 up');
    await host.ip('link set hfbr0 up');
  }
  return [left, right];
}

export const BRIDGE = { mode: 'bridge', bridge: 'hfbr0', hairpin: false } as const satisfies LinkDataPlane;
export const ROUTED = { mode: 'routed' } as const satisfies LinkDataPlane;

/** 10.77.0.`number` and fd77::`number` in hexadecimal. */
export function addressesOf(number: number): readonly [LinkAddress, LinkAddress] {
  return [
    { address: `10.77.${number >> 8}.${number & 0xff}`, family: 4, prefixLength: 16, gateway: '10.77.0.1' },
    { address: `fd77::${number.toString(16)}`, family: 6, prefixLength: 64, gateway: 'fd77::1' },
  ];
}

export function planOf(number: number, changes: Partial<LinkPlan> = {}): LinkPlan {
  return {
    hostName: `hfp${number}`,
    ifname: 'eth0',
    mac: `0a:58:0a:4d:${[number >> 8, number & 0xff].map((byte) => byte.toString(16).padStart(2, '0')).join(':')}`,
    dataPlane: BRIDGE,
    addresses: addressesOf(number),
    routes: [],
    ...changes,
  };
}

/** {@link planOf} on one of the {@link startJoinedHosts}: their subnet has no way out. */
export function joinedPlanOf(number: number, changes: Partial<LinkPlan> = {}): LinkPlan {
  return planOf(number, {
    dataPlane: { ...BRIDGE, uplink: 'up0' },
    addresses: addressesOf(number).map((address) => ({ ...address, gateway: undefined })),
    ...changes,
  });
}

export const ipv4Of = (number: number): string => addressesOf(number)[0].address;
export const ipv6Of = (number: number): string => addressesOf(number)[1].address;

/** Reads and sends whole frames on an interface inside; without a filter everything that comes in or goes out is read. */
export async function openFrames(
  t: Test,
  inside: TestNamespace,
  ifname: string,
  filter: Buffer = ALL_FRAMES,
): Promise<PacketSocket> {
  const [row] = JSON.parse(await inside.ip(`-j link show dev ${ifname}`)) as readonly [{ readonly ifindex: number }];
  const namespace = await openNetworkNamespace(inside.path);
  try {
    const socket = await openPacketSocket(namespace, row.ifindex, filter);
    t.teardown(() => socket.close());
    return socket;
  } finally {
    await namespace.close();
  }
}

/** The names of a namespace's interfaces. */
export async function interfacesOf(namespace: TestNamespace): Promise<readonly string[]> {
  const rows = JSON.parse(await namespace.ip('-j link show')) as readonly { readonly ifname: string }[];
  return rows.map(({ ifname }) => ifname);
}
