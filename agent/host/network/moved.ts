// What a host still knows about an address that was on another host before.
//
// The kernel cannot list the neighbours of one address, and all of a host's may be thousands. So the entry is deleted where
// the host would have looked: on the interface that its routes name for the address, and on the bridge and its uplink. An
// entry elsewhere is never asked: entries are of one interface, and it is the route that names the interface.
import type { HostNetwork } from './host-network.ts';
import { familyOf, ipText } from './ip-bytes.ts';
import type { LinkFacts } from './messages/link.ts';
import { deleteNeighbour } from './messages/neighbour.ts';
import { decodeRoute, getRouteTo } from './messages/route.ts';
import { ERRNO, findLinks, perform, type Step } from './steps.ts';
import type { Wanted } from './wanted.ts';

export interface StaleNeighbour {
  /** Of the interface. */
  readonly index: number;
  readonly address: Buffer;
}

/**
 * Where the host may have entries of the plan's addresses; none when they have not moved. To be asked before the host is given
 * routes to them.
 * @throws HoldfastError HOST_FAILURE
 */
export async function findStale(
  host: HostNetwork,
  { isMoved, joint, podAddresses }: Wanted,
  bridge: LinkFacts | undefined,
  signal: AbortSignal,
): Promise<readonly StaleNeighbour[]> {
  if (!isMoved) return [];
  const names = joint.mode === 'bridge' && joint.uplink !== undefined ? [joint.uplink] : [];
  const links = [bridge, ...(await findLinks(host.socket, names, signal))];
  const common = links.flatMap((link) => (link === undefined ? [] : [link.index]));
  const requests = podAddresses.map(({ family, bytes }) => getRouteTo(family, bytes));
  // A host that has no way to an address is no failure: then there is no entry.
  const answers = await host.socket.ask(requests, signal);
  return podAddresses.flatMap(({ family, bytes: address }, position) => {
    const { errno = 0, messages: [message] = [] } = answers[position] ?? {};
    const route = errno === 0 && message !== undefined ? decodeRoute(family, message) : undefined;
    // Behind a next hop it is no neighbour.
    const onRoute = route === undefined || route.via !== undefined || route.index === 0 ? [] : [route.index];
    return [...new Set([...common, ...onRoute])].map((index) => ({ index, address }));
  });
}

/**
 * To be called when the addresses are in place: what was asked for in between would be noted as unreachable.
 * @throws HoldfastError HOST_FAILURE
 */
export async function forgetStale(
  host: HostNetwork,
  stale: readonly StaleNeighbour[],
  signal: AbortSignal,
): Promise<void> {
  const steps = stale.map(
    ({ index, address }): Step => ({
      request: deleteNeighbour(index, address),
      failure: `where the IPv${familyOf(address)} neighbour ${ipText(address)} was before cannot be forgotten`,
      unless: [ERRNO.ENOENT, ERRNO.ENODEV],
    }),
  );
  await perform(host.socket, steps, signal);
}
