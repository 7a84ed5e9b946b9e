// The host passes packets on between its pods and the world only where its settings allow that.
import type { NetworkNamespace } from '../netlink/namespace.ts';
import type { Family } from './ip-bytes.ts';
import { applySettings, ipv6Interfaces, readSetting, type Setting } from './sysctl.ts';

export const FORWARDING: Readonly<Record<Family, string>> = { 4: 'ipv4/ip_forward', 6: 'ipv6/conf/all/forwarding' };

/**
 * A host that forwards IPv6 takes no router advertisements any more (Documentation/networking/ip-sysctl.rst, accept_ra):
 * one that has its default route from them would lose it. 2 stands for "also when forwarding".
 */
function keepingAdvertisements(namespace: NetworkNamespace): readonly Setting[] {
  return ipv6Interfaces(namespace)
    .map((name) => `ipv6/conf/${name}/accept_ra`)
    .filter((path) => readSetting(namespace, path) === '1')
    .map((path) => ({ path, value: '2', mayBeGone: true }));
}

/**
 * Switches forwarding on where it is off; nothing is written where it is on.
 * @throws HoldfastError HOST_FAILURE
 */
export async function ensureForwarding(namespace: NetworkNamespace, families: readonly Family[]): Promise<void> {
  for (const family of families) {
    if (readSetting(namespace, FORWARDING[family]) === '1') continue;
    const before = family === 6 ? keepingAdvertisements(namespace) : [];
    await applySettings(namespace, [...before, { path: FORWARDING[family], value: '1' }]);
  }
}
