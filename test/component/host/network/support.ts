// A host and its pods in namespaces of their own, joined by the real data plane.
import { setMaxListeners } from 'node:events';
import type { Test } from 'tap';
import { createPodLinks } from '../../../../agent/host/network/create-pod-links.ts';
import type { LinkAddress, LinkDataPlane, LinkPlan, PodLinks } from '../../../../agent/host/network/pod-links.ts';
import { makeNamespace, type TestNamespace } from '../../../support/network-namespaces.ts';

export const NEVER = new AbortController().signal;
// One signal for everything a test does at once; a real request has one of its own.
setMaxListeners(0, NEVER);

export interface TestHost {
  readonly links: PodLinks;
  readonly host: TestNamespace;
}

export async function startHost(t: Test): Promise<TestHost> {
  const host = await makeNamespace(t, 'host');
  await host.ip('link set lo up');
  const links = await createPodLinks({ owner: '0a1b2c', hostNamespace: host.path });
  t.teardown(() => links.close());
  return { links, host };
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

export const ipv4Of = (number: number): string => addressesOf(number)[0].address;
export const ipv6Of = (number: number): string => addressesOf(number)[1].address;

/** The names of a namespace's interfaces. */
export async function interfacesOf(namespace: TestNamespace): Promise<readonly string[]> {
  const rows = JSON.parse(await namespace.ip('-j link show')) as readonly { readonly ifname: string }[];
  return rows.map(({ ifname }) => ifname);
}
