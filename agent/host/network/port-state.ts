// Whether frames get through a bridge: its ports may be without a carrier still, or held back by the spanning tree protocol.
import { HoldfastError } from '../../../lib/errors.ts';
import type { NetlinkSocket } from '../netlink/socket.ts';
import { type LinkFacts, PORT_STATE } from './messages/link.ts';
import { pause } from './pause.ts';
import { findLinks } from './steps.ts';

const LOOK_MS = 20;
/** Network cards agree with the switch on their speed within that time. */
const CARRIER_MS = 5_000;
/** Listening and learning take twice the forward delay of IEEE 802.1D: 15 s, where nobody has set another. */
const LEARNING_MS = 40_000;

/** By state of a port: how long it may take until it forwards. A blocked port has a twin that does. */
const PATIENCE_MS: ReadonlyMap<number, number> = new Map([
  [PORT_STATE.DISABLED, CARRIER_MS],
  [PORT_STATE.LISTENING, LEARNING_MS],
  [PORT_STATE.LEARNING, LEARNING_MS],
]);

/** 0: the port forwards, or is not meant to. */
function patience(link: LinkFacts | undefined): number {
  return PATIENCE_MS.get(link?.portState ?? PORT_STATE.FORWARDING) ?? 0;
}

/**
 * Waits until frames pass all of the ports: a question that does not get through has no answer either.
 * @throws HoldfastError UNAVAILABLE when one forwards nothing for too long; HOST_FAILURE; the reason of the signal
 */
export async function untilForwarding(
  socket: NetlinkSocket,
  ports: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  for (let waited = 0; ; waited += LOOK_MS) {
    const waiting = (await findLinks(socket, ports, signal)).map((link) => ({ link, limit: patience(link) }));
    if (waiting.every(({ limit }) => limit === 0)) return;
    const late = waiting.find(({ limit }) => limit > 0 && waited >= limit);
    if (late !== undefined) {
      const why = late.limit === CARRIER_MS ? 'has no carrier' : 'is held back by the spanning tree protocol';
      throw new HoldfastError(
        'UNAVAILABLE',
        `nobody on the link can be asked whether an address is in use: the port ${late.link?.name} of the bridge ${why}; connect it, and try again`,
      );
    }
    await pause(LOOK_MS, signal);
  }
}
