// Looks at everything that an attachment consists of.

import type { NetlinkSocket } from '../netlink/socket.ts';
import { FORWARDING } from './forwarding.ts';
import type { HostNetwork } from './host-network.ts';
import { POD_ROUTE_TABLE, POD_RULE } from './host-routes.ts';
import type { Family } from './ip-bytes.ts';
import { decodeAddress, type InterfaceAddress, listAddresses } from './messages/address.ts';
import type { LinkFacts } from './messages/link.ts';
import { decodeRoute, decodeRule, listRoutes, listRules, type Route, TABLE_MAIN } from './messages/route.ts';
import type { LinkProblem } from './pod-links.ts';
import { type LinkState, problemsOf } from './problems.ts';
import { type SandboxNetwork, withSandbox } from './sandbox-network.ts';
import { ERRNO, findLinks, listAll } from './steps.ts';
import { readSetting } from './sysctl.ts';
import type { Wanted } from './wanted.ts';

async function addressesOf(
  socket: NetlinkSocket,
  link: LinkFacts | undefined,
  signal: AbortSignal,
): Promise<readonly InterfaceAddress[]> {
  if (link === undefined) return [];
  const step = {
    request: listAddresses(link.index),
    failure: `the addresses of ${link.name} cannot be listed`,
    unless: [ERRNO.ENODEV],
  };
  const messages = await listAll(socket, step, signal);
  return messages.flatMap((message) => decodeAddress(message) ?? []).filter(({ index }) => index === link.index);
}

/** Its routes in one table. @throws HoldfastError HOST_FAILURE */
export async function routesOf(
  socket: NetlinkSocket,
  link: LinkFacts | undefined,
  table: number,
  families: readonly Family[],
  signal: AbortSignal,
): Promise<readonly Route[]> {
  if (link === undefined) return [];
  const routes: Route[] = [];
  for (const family of families) {
    const step = {
      request: listRoutes(family, table, link.index),
      failure: `the routes of ${link.name} cannot be listed`,
      unless: [ERRNO.ENOENT, ERRNO.ENODEV],
    };
    const messages = await listAll(socket, step, signal);
    const decoded = messages.map((message) => decodeRoute(family, message));
    routes.push(...decoded.filter((route) => route.index === link.index && route.table === table));
  }
  return routes;
}

async function ruledFamilies(
  socket: NetlinkSocket,
  families: readonly Family[],
  signal: AbortSignal,
): Promise<readonly Family[]> {
  const ruled: Family[] = [];
  for (const family of families) {
    const step = { request: listRules(family), failure: `the IPv${family} routing rules cannot be listed` };
    const rules = (await listAll(socket, step, signal)).map(decodeRule);
    if (rules.some(({ priority, table }) => priority === POD_RULE.priority && table === POD_RULE.table)) {
      ruled.push(family);
    }
  }
  return ruled;
}

async function stateOf(
  host: HostNetwork,
  sandbox: SandboxNetwork,
  { hostName, ifname, joint, families, forwarded }: Wanted,
  signal: AbortSignal,
): Promise<LinkState> {
  const isRouted = joint.mode === 'routed';
  const names = isRouted ? [hostName] : [hostName, joint.bridge];
  const [end, bridge] = await findLinks(host.socket, names, signal);
  const [pod] = await findLinks(sandbox.socket, [ifname], signal);
  return {
    host: end,
    bridge,
    bridgeAddresses: await addressesOf(host.socket, bridge, signal),
    pod,
    podAddresses: await addressesOf(sandbox.socket, pod, signal),
    podRoutes: await routesOf(sandbox.socket, pod, TABLE_MAIN, families, signal),
    hostRoutes: isRouted ? await routesOf(host.socket, end, POD_ROUTE_TABLE, families, signal) : [],
    ruled: isRouted ? await ruledFamilies(host.socket, families, signal) : [],
    forwarding: forwarded.filter((family) => readSetting(host.namespace, FORWARDING[family]) === '1'),
  };
}

/** See PodLinks.check. @throws HoldfastError INVALID_REQUEST, HOST_FAILURE */
export async function checkLink(
  host: HostNetwork,
  netns: string,
  wanted: Wanted,
  signal: AbortSignal,
): Promise<readonly LinkProblem[]> {
  return await withSandbox(netns, host.namespace, async (sandbox) =>
    problemsOf(wanted, await stateOf(host, sandbox, wanted, signal)),
  );
}
