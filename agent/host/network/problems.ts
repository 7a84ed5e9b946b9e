// Compares what is there for an attachment with what there is to be. Pure.
import { FORWARDING } from './forwarding.ts';
import { podRuleCommand } from './host-routes.ts';
import { type Family, ipText } from './ip-bytes.ts';
import type { InterfaceAddress } from './messages/address.ts';
import { type LinkFacts, macText } from './messages/link.ts';
import type { Route } from './messages/route.ts';
import type { LinkProblem } from './pod-links.ts';
import type { Wanted } from './wanted.ts';

/** What was found. */
export interface LinkState {
  readonly host: LinkFacts | undefined;
  /** In bridge mode. */
  readonly bridge: LinkFacts | undefined;
  readonly bridgeAddresses: readonly InterfaceAddress[];
  readonly pod: LinkFacts | undefined;
  readonly podAddresses: readonly InterfaceAddress[];
  readonly podRoutes: readonly Route[];
  /** Those in the pods' table that lead to the host's end. */
  readonly hostRoutes: readonly Route[];
  /** For which the rule leads to that table. */
  readonly ruled: readonly Family[];
  readonly forwarding: readonly Family[];
}

const textOf = ({ bytes, prefixLength }: InterfaceAddress): string => `${ipText(bytes)}/${prefixLength}`;

function addressProblems(
  wanted: readonly InterfaceAddress[],
  found: readonly InterfaceAddress[],
  where: string,
): readonly LinkProblem[] {
  return wanted.flatMap((address) => {
    const same = found.filter(({ bytes }) => bytes.equals(address.bytes));
    if (same.some(({ prefixLength }) => prefixLength === address.prefixLength)) return [];
    const [other] = same;
    return other === undefined
      ? [`${where} does not have the address ${textOf(address)}`]
      : [`${where} has the address ${textOf(other)} instead of ${textOf(address)}`];
  });
}

function isSameRoute(one: Route, two: Route): boolean {
  const isSameHop = one.via === undefined ? two.via === undefined : two.via?.equals(one.via) === true;
  return (
    one.family === two.family &&
    one.prefixLength === two.prefixLength &&
    one.destination.equals(two.destination) &&
    isSameHop
  );
}

function routeProblems(wanted: readonly Route[], found: readonly Route[], where: string): readonly LinkProblem[] {
  return wanted
    .filter((route) => !found.some((one) => isSameRoute(one, route)))
    .map(({ destination, prefixLength, via }) => {
      const hop = via === undefined ? '' : ` by way of ${ipText(via)}`;
      return `${where} has no route to ${ipText(destination)}/${prefixLength}${hop}`;
    });
}

function podProblems(wanted: Wanted, { pod, host, podAddresses, podRoutes }: LinkState): readonly LinkProblem[] {
  const { ifname, mac, mtu } = wanted;
  if (pod === undefined) return [`the sandbox has no interface ${ifname}`];
  const where = `${ifname} of the sandbox`;
  return [
    ...(host !== undefined && pod.peerIndex !== host.index ? [`${where} is not the other end of ${host.name}`] : []),
    ...(pod.isUp ? [] : [`${where} is down`]),
    ...(pod.mac === macText(mac) ? [] : [`${where} has the hardware address ${pod.mac} instead of ${macText(mac)}`]),
    ...(mtu === undefined || pod.mtu === mtu ? [] : [`${where} has an MTU of ${pod.mtu} instead of ${mtu}`]),
    ...addressProblems(wanted.podAddresses, podAddresses, where),
    ...routeProblems(wanted.podRoutes, podRoutes, where),
  ];
}

function bridgeProblems(joint: Extract<Wanted['joint'], { mode: 'bridge' }>, state: LinkState): readonly LinkProblem[] {
  const { host, bridge } = state;
  if (bridge === undefined) return [`the host has no bridge ${joint.bridge}`];
  const isPort = host?.master === bridge.index;
  return [
    ...(bridge.isUp ? [] : [`the bridge ${joint.bridge} is down`]),
    ...addressProblems(joint.gateways, state.bridgeAddresses, `the bridge ${joint.bridge}`),
    ...(host === undefined || isPort
      ? []
      : [`${host.name}, the host's end, is not a port of the bridge ${joint.bridge}`]),
    ...(isPort && host.isHairpin !== joint.isHairpin
      ? [`${host.name}, the host's end, has hairpin mode switched ${joint.isHairpin ? 'off' : 'on'}`]
      : []),
  ];
}

function routedProblems(wanted: Wanted, routes: readonly Route[], state: LinkState): readonly LinkProblem[] {
  return [
    ...routeProblems(routes, state.hostRoutes, 'the host'),
    ...wanted.families
      .filter((family) => !state.ruled.includes(family))
      .map((family) => `the host does not ask its table of pods' IPv${family} routes (${podRuleCommand(family)})`),
  ];
}

/** One sentence for each difference; what was added by others is none. */
export function problemsOf(wanted: Wanted, state: LinkState): readonly LinkProblem[] {
  const { hostName, joint, forwarded } = wanted;
  const { host } = state;
  return [
    ...(host === undefined ? [`the host's end ${hostName} is missing`] : []),
    ...(host?.isUp === false ? [`${hostName}, the host's end, is down`] : []),
    ...(joint.mode === 'bridge' ? bridgeProblems(joint, state) : routedProblems(wanted, joint.hostRoutes, state)),
    ...podProblems(wanted, state),
    ...forwarded
      .filter((family) => !state.forwarding.includes(family))
      .map((family) => `the host does not forward IPv${family} (net/${FORWARDING[family]} is off)`),
  ];
}
