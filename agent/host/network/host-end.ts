// The host's end of a pair, and what the host has to have for all pods: the same when a sandbox is joined and when it comes
// back.
import type { HostNetwork } from './host-network.ts';
import { POD_RULE, podRoutePlace } from './host-routes.ts';
import { ipText } from './ip-bytes.ts';
import { addAddress } from './messages/address.ts';
import { changeLink, type LinkFacts, setHairpin, setNoOwnIpv6, setRouter } from './messages/link.ts';
import { addRoute, addRule, type Route } from './messages/route.ts';
import { ERRNO, perform, type Step } from './steps.ts';
import { applySettings, hasIpv6, ipv6Settings } from './sysctl.ts';
import { ROUTED_GATEWAYS, type Wanted } from './wanted.ts';

/** Interfaces with a smaller MTU have no IPv6 (RFC 8200, section 5). */
const LEAST_IPV6_MTU = 1280;

/** What the host has to have for all pods; it stays when an attachment fails. */
export function commonSteps({ joint, families }: Wanted, bridge: LinkFacts | undefined): readonly Step[] {
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

export interface HostEndState {
  /** To be noted; undefined: what is noted there stays. */
  readonly alias: string | undefined;
  /** That lead to it already, in routed mode. */
  readonly routes: readonly Route[];
}

function hostSteps(wanted: Wanted, host: LinkFacts, { alias, routes }: HostEndState): readonly Step[] {
  const { joint, families } = wanted;
  const { index, name } = host;
  const failure = `${name}, the host's end, cannot be set up`;
  const up = changeLink(index, { isUp: true, ...(alias === undefined ? {} : { alias }) });
  const quiet = hasIpv6() && host.mtu >= LEAST_IPV6_MTU ? [{ request: setNoOwnIpv6(index), failure }] : [];
  if (joint.mode === 'bridge') {
    const hairpin =
      host.isHairpin === joint.isHairpin ? [] : [{ request: setHairpin(index, joint.isHairpin), failure }];
    return [...quiet, ...hairpin, { request: up, failure }];
  }
  const nextHop = { family: 6, bytes: ROUTED_GATEWAYS[6], prefixLength: 64 } as const;
  return [
    ...quiet,
    ...(families.includes(4) ? [{ request: setRouter(index), failure }] : []),
    { request: up, failure },
    ...(families.includes(6) ? [{ request: addAddress(index, nextHop), failure, unless: [ERRNO.EEXIST] }] : []),
    ...joint.hostRoutes
      .filter(({ destination }) => !routes.some((route) => route.destination.equals(destination)))
      .map((route) => ({
        request: addRoute(route, podRoutePlace(index)),
        failure: `the host cannot be given the route to ${ipText(route.destination)}; another interface may have that address`,
      })),
  ];
}

/**
 * Brings the host's end up, last of all that belongs to it, so that an address speaks only when everything is in place.
 * @param end - a port of its bridge already, in bridge mode
 * @throws HoldfastError HOST_FAILURE
 */
export async function setUpHostEnd(
  host: HostNetwork,
  wanted: Wanted,
  end: LinkFacts,
  state: HostEndState,
  signal: AbortSignal,
): Promise<void> {
  if (wanted.joint.mode === 'routed') {
    await applySettings(host.namespace, ipv6Settings(end.name, wanted.families.includes(6)));
  }
  await perform(host.socket, hostSteps(wanted, end, state), signal);
}
