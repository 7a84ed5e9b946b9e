// Tells the neighbours of a sandbox where its addresses are, after a move.
import { HoldfastError, isErrno } from '../../../lib/errors.ts';
import type { Slots } from '../netlink/slots.ts';
import { arpAnnouncement } from './frames/arp.ts';
import { unsolicitedAdvertisement } from './frames/neighbour-discovery.ts';
import type { HostNetwork } from './host-network.ts';
import { macText } from './messages/link.ts';
import { openPacketSocket } from './packet-socket.ts';
import { pause } from './pause.ts';
import { type SandboxNetwork, withSandbox } from './sandbox-network.ts';
import { findLinks, refused } from './steps.ts';
import type { Wanted } from './wanted.ts';

/** ANNOUNCE_NUM of RFC 5227 is 2; one more, because nobody confirms them. MAX_NEIGHBOR_ADVERTISEMENT of RFC 4861 is 3, too. */
const TIMES = 3;
/** ENXIO, ENODEV and ENETDOWN of include/uapi/asm-generic/errno.h: the interface went, or went down, after we had looked. */
const GONE = new Set([6, 19, 100]);
/** The queue is full, or the other end is down: the next time may have more luck. */
const ENOBUFS = 105;

function framesOf({ podAddresses, mac }: Wanted): readonly Buffer[] {
  return podAddresses.map(({ bytes }) =>
    bytes.length === 4 ? arpAnnouncement(bytes, mac) : unsolicitedAdvertisement(bytes, mac),
  );
}

/** Whether it was worth it: false when the interface is gone, down, or not the one that was planned. */
async function announceOnce(sandbox: SandboxNetwork, wanted: Wanted, signal: AbortSignal): Promise<boolean> {
  const [link] = await findLinks(sandbox.socket, [wanted.ifname], signal);
  if (link === undefined || !link.isUp || link.mac !== macText(wanted.mac)) return false;
  const socket = await openPacketSocket(sandbox.namespace, link.index);
  try {
    for (const frame of framesOf(wanted)) {
      const errno = socket.send(frame);
      if (GONE.has(errno)) return false;
      if (errno !== 0 && errno !== ENOBUFS) {
        throw refused(`the addresses of ${wanted.ifname} cannot be announced`, {
          errno,
          explanation: undefined,
          messages: [],
        });
      }
    }
    return true;
  } finally {
    await socket.close();
  }
}

/** Whether the sandbox's network went since the addresses were attached; before the first time only its absence says so. */
function isGone(error: unknown, isFirst: boolean): boolean {
  if (!(error instanceof HoldfastError) || error.code !== 'INVALID_REQUEST') return false;
  return !isFirst || isErrno(error.cause, 'ENOENT');
}

/**
 * See PodLinks.announce. Everything is opened anew each time: a socket in it would keep the sandbox's network alive.
 * @param pauseMs - between one time and the next
 * @param sandboxes - one of them is taken each time, none in between
 * @throws HoldfastError INVALID_REQUEST, UNAVAILABLE, HOST_FAILURE; the reason of the signal
 */
export async function announceLink(
  host: HostNetwork,
  netns: string,
  wanted: Wanted,
  { pauseMs, sandboxes }: { readonly pauseMs: number; readonly sandboxes: Slots },
  signal: AbortSignal,
): Promise<void> {
  if (wanted.joint.mode === 'routed') return;
  for (let count = 0; count < TIMES; count += 1) {
    if (count > 0) await pause(pauseMs, signal);
    try {
      const announce = (): Promise<boolean> =>
        withSandbox(netns, host.namespace, (sandbox) => announceOnce(sandbox, wanted, signal));
      if (!(await sandboxes.run(announce, signal))) return;
    } catch (error) {
      if (isGone(error, count === 0)) return;
      throw error;
    }
  }
}
