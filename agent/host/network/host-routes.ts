// Where the host keeps the routes to its pods in routed mode: in a table of their own, which a routing daemon can export as a
// whole, and which the host's other routes are never mixed up with.
import type { Family } from './ip-bytes.ts';
import type { RoutePlace, Rule } from './messages/route.ts';

/** The routing table of pods' addresses. */
export const POD_ROUTE_TABLE = 2772;
/** Marks routes and rules as ours (`proto` of ip-route(8)); not among the numbers that iproute2 has names for. */
export const POD_ROUTE_PROTOCOL = 72;
/** Before the host's main table (32766): the addresses of pods are more exact than anything that is in there. */
export const POD_RULE_PRIORITY = 27_720;

export const POD_RULE: Rule = { priority: POD_RULE_PRIORITY, table: POD_ROUTE_TABLE, protocol: POD_ROUTE_PROTOCOL };

/** @param index - of the host's end */
export function podRoutePlace(index: number): RoutePlace {
  return { index, table: POD_ROUTE_TABLE, protocol: POD_ROUTE_PROTOCOL };
}

/** How an operator would look for it. */
export function podRuleCommand(family: Family): string {
  return `ip -${family} rule show priority ${POD_RULE_PRIORITY}`;
}
