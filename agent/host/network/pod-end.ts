// The sandbox's end of a pair: its addresses, its routes and its settings.
import { ipText } from './ip-bytes.ts';
import { addAddress } from './messages/address.ts';
import { changeLink, type LinkFacts } from './messages/link.ts';
import { setPermanentNeighbour } from './messages/neighbour.ts';
import { addRoute, PROTOCOL_STATIC, TABLE_MAIN } from './messages/route.ts';
import type { SandboxNetwork } from './sandbox-network.ts';
import { perform, type Step } from './steps.ts';
import { applySettings, ipv6Settings } from './sysctl.ts';
import type { Wanted } from './wanted.ts';

/** The kernel's own number for it in each namespace (LOOPBACK_IFINDEX). */
const LOOPBACK_INDEX = 1;

/** The pair as the kernel made it. */
export interface Pair {
  readonly host: LinkFacts;
  readonly podIndex: number;
}

function podSteps(wanted: Wanted, { host, podIndex }: Pair): readonly Step[] {
  const { ifname, joint } = wanted;
  const hostMac = Buffer.from(host.mac.replaceAll(':', ''), 'hex');
  return [
    { request: changeLink(LOOPBACK_INDEX, { isUp: true }), failure: 'lo of the sandbox cannot be brought up' },
    { request: changeLink(podIndex, { isUp: true }), failure: `${ifname} of the sandbox cannot be brought up` },
    ...wanted.podAddresses.map((address) => ({
      request: addAddress(podIndex, address),
      failure: `the address ${ipText(address.bytes)}/${address.prefixLength} cannot be given to ${ifname}`,
    })),
    // A host answers for its next hop only where it has a default route itself; the pod need not ask.
    ...(joint.mode === 'routed' ? joint.gateways : []).map((gateway) => ({
      request: setPermanentNeighbour(podIndex, gateway, hostMac),
      failure: `the next hop ${ipText(gateway)} of ${ifname} cannot be made known`,
    })),
    ...wanted.podRoutes.map((route) => ({
      request: addRoute(route, { index: podIndex, table: TABLE_MAIN, protocol: PROTOCOL_STATIC }),
      failure: `the sandbox cannot be given the route to ${ipText(route.destination)}/${route.prefixLength}${
        // The kernel's words would not tell where it comes from.
        route.prefixLength === 0 ? '; if another network gave it one, set "defaultRoute": false in this one’s' : ''
      }`,
    })),
  ];
}

/** @throws HoldfastError HOST_FAILURE */
export async function setUpPodEnd(
  sandbox: SandboxNetwork,
  wanted: Wanted,
  pair: Pair,
  signal: AbortSignal,
): Promise<void> {
  const hasIpv6Address = wanted.families.includes(6);
  await applySettings(sandbox.namespace, [
    ...(hasIpv6Address ? [{ path: 'ipv6/conf/lo/disable_ipv6', value: '0' }] : []),
    ...ipv6Settings(wanted.ifname, hasIpv6Address),
  ]);
  await perform(sandbox.socket, podSteps(wanted, pair), signal);
}
