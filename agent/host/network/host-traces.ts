// What pods' networks leave on the host beside interfaces: the rules for masquerading, the routing rules and the routes of
// pods. Looked at and removed when Holdfast goes; while pods have interfaces of ours all of it is theirs.
import { HoldfastError } from '../../../lib/errors.ts';
import { runCommand } from '../command.ts';
import { openOwnNetworkNamespace } from '../netlink/namespace.ts';
import { type NetlinkSocket, openNetlinkSocket } from '../netlink/socket.ts';
import { POD_ROUTE_PROTOCOL, POD_ROUTE_TABLE, POD_RULE, POD_RULE_PRIORITY } from './host-routes.ts';
import type { Family } from './ip-bytes.ts';
import { decodeLink, listVeths } from './messages/link.ts';
import { decodeRoute, decodeRule, deleteRoute, deleteRule, listRules, listTable } from './messages/route.ts';
import { planMasquerade, TABLE } from './plan-masquerade.ts';
import { ERRNO, listAll, perform } from './steps.ts';
import { hasIpv6 } from './sysctl.ts';

export interface HostTraces {
  /** Host ends of pods' pairs of interfaces. */
  readonly podInterfaces: number;
  /** The table `inet holdfast` of nftables is there. */
  readonly hasTable: boolean;
  /** Routing rules and routes of pods, of both families together. */
  readonly rules: number;
}

const NFT_TIMEOUT_MS = 10_000;

const families = (): readonly Family[] => (hasIpv6() ? [4, 6] : [4]);

async function hasTable(signal: AbortSignal): Promise<boolean> {
  try {
    const tables = await runCommand('nft', ['list', 'tables'], { timeoutMs: NFT_TIMEOUT_MS, signal });
    return tables.split('\n').some((line) => line.trim() === `table inet ${TABLE}`);
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    // Without nft, or on a kernel without nftables, no table of ours was ever made.
    if (error.code === 'PRECONDITION' || /not supported/i.test(error.message)) return false;
    throw error;
  }
}

async function findRules(socket: NetlinkSocket, family: Family, signal: AbortSignal): Promise<number> {
  const step = { request: listRules(family), failure: `the IPv${family} routing rules cannot be listed` };
  const rules = (await listAll(socket, step, signal)).map(decodeRule);
  return rules.filter(
    ({ priority, table, protocol }) =>
      priority === POD_RULE_PRIORITY && table === POD_ROUTE_TABLE && protocol === POD_ROUTE_PROTOCOL,
  ).length;
}

async function findRoutes(socket: NetlinkSocket, family: Family, signal: AbortSignal) {
  const failure = `the IPv${family} routes of table ${POD_ROUTE_TABLE} cannot be listed`;
  const step = { request: listTable(family, POD_ROUTE_TABLE), failure, unless: [ERRNO.ENOENT] };
  const routes = (await listAll(socket, step, signal)).map((message) => decodeRoute(family, message));
  return routes.filter(({ table, protocol }) => table === POD_ROUTE_TABLE && protocol === POD_ROUTE_PROTOCOL);
}

async function withSocket<Result>(work: (socket: NetlinkSocket) => Promise<Result>): Promise<Result> {
  const namespace = await openOwnNetworkNamespace();
  try {
    const socket = await openNetlinkSocket(namespace);
    try {
      return await work(socket);
    } finally {
      await socket.close();
    }
  } finally {
    await namespace.close();
  }
}

/**
 * @param isPodInterface - whether a veth of that name can be a host end of ours
 * @throws HoldfastError HOST_FAILURE
 */
export async function lookAtHostTraces(
  isPodInterface: (name: string) => boolean,
  signal: AbortSignal,
): Promise<HostTraces> {
  return await withSocket(async (socket) => {
    const step = { request: listVeths(), failure: "the host's interfaces cannot be listed" };
    const links = (await listAll(socket, step, signal)).map(decodeLink);
    let rules = 0;
    for (const family of families()) {
      rules += await findRules(socket, family, signal);
      rules += (await findRoutes(socket, family, signal)).length;
    }
    return {
      podInterfaces: links.filter(({ kind, name }) => kind === 'veth' && isPodInterface(name)).length,
      hasTable: await hasTable(signal),
      rules,
    };
  });
}

/**
 * Removes all of it; what is gone already is passed over. Nobody may be about to make it again.
 * @throws HoldfastError HOST_FAILURE
 */
export async function removeHostTraces(signal: AbortSignal): Promise<void> {
  if (await hasTable(signal)) {
    await runCommand('nft', ['-f', '-'], { timeoutMs: NFT_TIMEOUT_MS, signal, input: planMasquerade([]).text });
  }
  await withSocket(async (socket) => {
    for (const family of families()) {
      const routes = await findRoutes(socket, family, signal);
      const unless = [ERRNO.ENOENT, ERRNO.ESRCH];
      const rules = await findRules(socket, family, signal);
      await perform(
        socket,
        [
          ...Array.from({ length: rules }, () => ({
            request: deleteRule(family, POD_RULE),
            failure: `the IPv${family} routing rule ${POD_RULE_PRIORITY} cannot be removed`,
            unless,
          })),
          ...routes.map((route) => ({
            request: deleteRoute(route, route),
            failure: `a route of table ${POD_ROUTE_TABLE} cannot be removed`,
            unless,
          })),
        ],
        signal,
      );
    }
  });
}
