// Joins one sandbox to the host: makes the pair of interfaces, gives the sandbox's end its addresses and routes, and brings
// the host's end up last, so that an address speaks only when everything is in place. What fails is taken back.
import { describeError, HoldfastError } from '../../../lib/errors.ts';
import { ensureBridge } from './bridge.ts';
import { ensureForwarding } from './forwarding.ts';
import type { HostNetwork } from './host-network.ts';
import { POD_RULE, podRoutePlace } from './host-routes.ts';
import { ipText } from './ip-bytes.ts';
import { aliasOf } from './link-alias.ts';
import { addAddress } from './messages/address.ts';
import {
  changeLink,
  createVeth,
  getLink,
  type LinkFacts,
  macText,
  setHairpin,
  setNoOwnIpv6,
  setRouter,
} from './messages/link.ts';
import { setPermanentNeighbour } from './messages/neighbour.ts';
import { addRoute, addRule, PROTOCOL_STATIC, TABLE_MAIN } from './messages/route.ts';
import type { Link } from './pod-links.ts';
import { removeLink } from './remove.ts';
import { type SandboxNetwork, withSandbox } from './sandbox-network.ts';
import { ERRNO, expectDone, findLinks, linkOf, perform, refused, type Step } from './steps.ts';
import { applySettings, hasIpv6, type Setting } from './sysctl.ts';
import { ROUTED_GATEWAYS, type Wanted } from './wanted.ts';

/** The kernel's own number for it in each namespace (LOOPBACK_IFINDEX). */
const LOOPBACK_INDEX = 1;
/** Interfaces with a smaller MTU have no IPv6 (RFC 8200, section 5). */
const LEAST_IPV6_MTU = 1280;

/** The pair as the kernel made it. */
interface Pair {
  readonly host: LinkFacts;
  readonly podIndex: number;
}

/** What the host has to have for all pods; it stays when an attachment fails. */
function commonSteps({ joint, families }: Wanted, bridge: LinkFacts | undefined): readonly Step[] {
  if (joint.mode === 'routed') {
    return families.map((family) => ({
      request: addRule(family, POD_RULE),
      failure: `the rule that leads to the IPv${family} routes of pods cannot be made`,
      unless: [ERRNO.EEXIST],
    }));
  }
  return joint.gateways.map((gateway) => ({
    request: addAddress(bridge?.index ?? 0, gateway),
    failure: `the gateway ${ipText(gateway.bytes)} cannot be given to the bridge ${joint.bridge}`,
    unless: [ERRNO.EEXIST],
  }));
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

function hostSteps(wanted: Wanted, { host }: Pair, owner: string): readonly Step[] {
  const { joint, families } = wanted;
  const { index, name } = host;
  const failure = `${name}, the host's end, cannot be set up`;
  const up = changeLink(index, { isUp: true, alias: aliasOf(owner, wanted.podAddresses) });
  const quiet = hasIpv6() && host.mtu >= LEAST_IPV6_MTU ? [{ request: setNoOwnIpv6(index), failure }] : [];
  if (joint.mode === 'bridge') {
    const hairpin = joint.isHairpin ? [{ request: setHairpin(index, true), failure }] : [];
    return [...quiet, ...hairpin, { request: up, failure }];
  }
  const nextHop = { family: 6, bytes: ROUTED_GATEWAYS[6], prefixLength: 64 } as const;
  return [
    ...quiet,
    ...(families.includes(4) ? [{ request: setRouter(index), failure }] : []),
    { request: up, failure },
    ...(families.includes(6) ? [{ request: addAddress(index, nextHop), failure }] : []),
    ...joint.hostRoutes.map((route) => ({
      request: addRoute(route, podRoutePlace(index)),
      failure: `the host cannot be given the route to ${ipText(route.destination)}; another interface may have that address`,
    })),
  ];
}

/**
 * The settings of one end. Routers are known already: what others on the link say about them must not redirect anybody's
 * packets, on an interface without an IPv6 address of ours neither. Where we give one, it has to work.
 */
function ipv6Settings(ifname: string, hasAddress: boolean): readonly Setting[] {
  const enabled = { path: `ipv6/conf/${ifname}/disable_ipv6`, value: '0' };
  const deaf = { path: `ipv6/conf/${ifname}/accept_ra`, value: '0', mayBeGone: !hasAddress };
  return hasAddress ? [enabled, deaf] : [deaf];
}

async function setUpSandbox(sandbox: SandboxNetwork, wanted: Wanted, pair: Pair, signal: AbortSignal): Promise<void> {
  const hasIpv6Address = wanted.families.includes(6);
  await applySettings(sandbox.namespace, [
    ...(hasIpv6Address ? [{ path: 'ipv6/conf/lo/disable_ipv6', value: '0' }] : []),
    ...ipv6Settings(wanted.ifname, hasIpv6Address),
  ]);
  await perform(sandbox.socket, podSteps(wanted, pair), signal);
}

async function setUpHost(host: HostNetwork, wanted: Wanted, pair: Pair, signal: AbortSignal): Promise<void> {
  if (wanted.joint.mode === 'routed') {
    await applySettings(host.namespace, ipv6Settings(pair.host.name, wanted.families.includes(6)));
  }
  await perform(host.socket, hostSteps(wanted, pair, host.owner), signal);
}

async function checkFree(host: HostNetwork, { hostName }: Wanted, signal: AbortSignal): Promise<void> {
  const [there] = await findLinks(host.socket, [hostName], signal);
  if (there !== undefined) {
    const message = `the host has an interface ${hostName} already, left by an earlier attachment; it has to be removed first`;
    throw new HoldfastError('PRECONDITION', message);
  }
}

/**
 * @returns the refusal instead, when the kernel has made no pair: then there is nothing to take back
 */
async function makePair(
  host: HostNetwork,
  sandbox: SandboxNetwork,
  wanted: Wanted,
  bridge: LinkFacts | undefined,
  signal: AbortSignal,
): Promise<Pair | HoldfastError> {
  const { hostName, ifname, mac } = wanted;
  const create = createVeth({
    name: hostName,
    mtu: wanted.mtu ?? bridge?.mtu,
    master: bridge?.index,
    peer: { name: ifname, mac, namespaceFd: sandbox.namespace.fd },
  });
  // In one exchange: what is common is there already but for the first time.
  const common = commonSteps(wanted, bridge);
  const requests = [create, getLink(hostName), ...common.map(({ request }) => request)];
  const [created, shown, ...others] = await host.socket.ask(requests, signal);
  const pair = linkOf(hostName, shown);
  if (created?.errno === ERRNO.EEXIST && pair === undefined) {
    return new HoldfastError('INVALID_REQUEST', `${sandbox.namespace.path} has an interface ${ifname} already`);
  }
  if (created !== undefined && created.errno !== 0) {
    return refused(`the pair of ${hostName} and ${ifname} in ${sandbox.namespace.path} cannot be made`, created);
  }
  expectDone(common, others);
  if (pair?.peerIndex === undefined) {
    throw new HoldfastError('HOST_FAILURE', `the pair of ${hostName} went as soon as it was made`);
  }
  return { host: pair, podIndex: pair.peerIndex };
}

async function takeBack(host: HostNetwork, hostName: string, error: unknown): Promise<never> {
  try {
    // Also when the caller has given up: nothing of it may stay. Not behind the removals that wait for the slow socket.
    await removeLink(host.socket, hostName, new AbortController().signal);
  } catch (second) {
    const message = `${describeError(error)}; and ${hostName}, which was made before that, cannot be removed: ${describeError(second)}`;
    throw new HoldfastError('HOST_FAILURE', message, { cause: error });
  }
  throw error;
}

/**
 * See PodLinks.attach.
 * @throws HoldfastError INVALID_REQUEST, PRECONDITION, HOST_FAILURE; the reason of the signal
 */
export async function attachLink(host: HostNetwork, netns: string, wanted: Wanted, signal: AbortSignal): Promise<Link> {
  const { hostName, joint } = wanted;
  if (wanted.families.includes(6) && !hasIpv6()) {
    throw new HoldfastError(
      'PRECONDITION',
      'an IPv6 address is wanted, but IPv6 is switched off in the kernel of this host',
    );
  }
  return await withSandbox(netns, host.namespace, async (sandbox) => {
    await checkFree(host, wanted, signal);
    await ensureForwarding(host.namespace, wanted.forwarded);
    const bridge = joint.mode === 'bridge' ? await ensureBridge(host, joint, wanted.mtu, signal) : undefined;
    let pair: Pair | HoldfastError;
    try {
      pair = await makePair(host, sandbox, wanted, bridge, signal);
      if (!(pair instanceof HoldfastError)) {
        await setUpSandbox(sandbox, wanted, pair, signal);
        await setUpHost(host, wanted, pair, signal);
      }
    } catch (error) {
      return await takeBack(host, hostName, error);
    }
    if (pair instanceof HoldfastError) throw pair;
    return { hostName, hostMac: pair.host.mac, mac: macText(wanted.mac), mtu: pair.host.mtu };
  });
}
