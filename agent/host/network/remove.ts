// Takes a sandbox off the host: at first only off the air, which is quick, later the interfaces.
import { HoldfastError } from '../../../lib/errors.ts';
import type { NetlinkSocket } from '../netlink/socket.ts';
import type { HostNetwork } from './host-network.ts';
import { addressesOfAlias } from './link-alias.ts';
import { changeLink, deleteLink, type LinkFacts } from './messages/link.ts';
import { deleteNeighbour } from './messages/neighbour.ts';
import { ERRNO, findLinks, perform, type Step } from './steps.ts';

/**
 * Only a pair is ever touched: a wrong name must not cost the host its uplink.
 * @throws HoldfastError PRECONDITION, HOST_FAILURE
 */
export async function findPair(
  socket: NetlinkSocket,
  hostName: string,
  signal: AbortSignal,
): Promise<LinkFacts | undefined> {
  const [link] = await findLinks(socket, [hostName], signal);
  if (link !== undefined && link.kind !== 'veth') {
    throw new HoldfastError('PRECONDITION', `${hostName} is not the end of a pair of interfaces; it is not touched`);
  }
  return link;
}

/** See PodLinks.quiesce. @throws HoldfastError PRECONDITION, HOST_FAILURE */
export async function quiesceLink({ socket }: HostNetwork, hostName: string, signal: AbortSignal): Promise<void> {
  const link = await findPair(socket, hostName, signal);
  if (link === undefined) return;
  const { index, master, alias } = link;
  // The routes to it, of both families, go with the link.
  const down: Step = {
    request: changeLink(index, { isUp: false }),
    failure: `${hostName} cannot be taken down`,
    unless: [ERRNO.ENODEV],
  };
  const off = (bridge: number): readonly Step[] => [
    {
      request: changeLink(index, { master: 0 }),
      failure: `${hostName} cannot be taken off its bridge`,
      unless: [ERRNO.ENODEV],
    },
    ...addressesOfAlias(alias).map((address) => ({
      request: deleteNeighbour(bridge, address),
      failure: `what the host knows about the neighbour at ${hostName} cannot be forgotten`,
      unless: [ERRNO.ENOENT, ERRNO.ENODEV],
    })),
  ];
  await perform(socket, [down, ...(master === undefined ? [] : off(master))], signal);
}

/**
 * See PodLinks.remove.
 * @param socket - is busy for tens of milliseconds
 * @throws HoldfastError PRECONDITION, HOST_FAILURE
 */
export async function removeLink(socket: NetlinkSocket, hostName: string, signal: AbortSignal): Promise<void> {
  const link = await findPair(socket, hostName, signal);
  if (link === undefined) return;
  const step = { request: deleteLink(link.index), failure: `${hostName} cannot be removed`, unless: [ERRNO.ENODEV] };
  await perform(socket, [step], signal);
}
