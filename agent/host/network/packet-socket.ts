// A socket for whole Ethernet frames on one interface. What is sent costs microseconds; nothing waits.
// Source: packet(7), include/uapi/linux/if_packet.h.
import { close as closeDescriptor, closeSync } from 'node:fs';
import { promisify } from 'node:util';
import { HoldfastError } from '../../../lib/errors.ts';
import { type Libc, loadLibc } from '../netlink/libc.ts';
import { describeErrno } from '../netlink/message.ts';
import type { NetworkNamespace } from '../netlink/namespace.ts';

const AF_PACKET = 17;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const SOCK_NONBLOCK = 0o4000;
const ETH_P_ALL = 0x0003;
const ADDRESS_BYTES = 20;
const EINTR = 4;
const EAGAIN = 11;
/** What is read is shorter than a hundred bytes; the rest of a longer frame is of no use. */
const RECEIVE_BYTES = 2048;

const closeAside = promisify(closeDescriptor);

export interface PacketSocket {
  /** 0 when it was sent, else the kernel's error number. */
  send(frame: Buffer): number;
  /** The next frame, cut to 2 KiB; undefined: there is none now. @throws HoldfastError HOST_FAILURE, as when the interface went down */
  receive(): Buffer | undefined;
  close(): Promise<void>;
}

function failed(what: string, result: number): HoldfastError {
  return new HoldfastError('HOST_FAILURE', `${what}: ${describeErrno(-result)}`);
}

/** To be called inside the namespace. */
function openDescriptor(libc: Libc, index: number, filter: Buffer | undefined): number {
  // Without a protocol nothing comes in, so that nothing is there that the filter has not seen.
  const fd = libc.socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) throw failed('a packet socket cannot be opened', fd);
  try {
    const address = Buffer.alloc(ADDRESS_BYTES);
    address.writeUInt16LE(AF_PACKET, 0);
    address.writeInt32LE(index, 4);
    if (filter !== undefined) {
      const filtered = libc.setFilter(fd, filter);
      if (filtered < 0) throw failed('a packet socket cannot be given its filter', filtered);
      address.writeUInt16BE(ETH_P_ALL, 2);
    }
    const bound = libc.bind(fd, address);
    if (bound < 0) throw failed(`a packet socket cannot be bound to interface ${index}`, bound);
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/**
 * It keeps its namespace alive until it is closed.
 * @param index - of the interface
 * @param filter - lets in what is to be received (SO_ATTACH_FILTER); undefined: nothing is
 * @throws HoldfastError HOST_FAILURE
 */
export async function openPacketSocket(
  namespace: NetworkNamespace,
  index: number,
  filter?: Buffer,
): Promise<PacketSocket> {
  const libc = await loadLibc();
  const fd = namespace.run(() => openDescriptor(libc, index, filter));
  const buffer = Buffer.alloc(RECEIVE_BYTES);
  return {
    send: (frame) => {
      const sent = libc.send(fd, frame);
      return sent < 0 ? -sent : 0;
    },
    receive: () => {
      let length: number;
      do length = libc.receive(fd, buffer);
      while (length === -EINTR);
      if (length === -EAGAIN) return undefined;
      if (length < 0) throw failed('frames cannot be received', length);
      return Buffer.from(buffer.subarray(0, Math.min(length, buffer.length)));
    },
    // On a worker thread: the kernel waits until nobody looks at the socket any more (synchronize_net), for milliseconds.
    close: () => closeAside(fd),
  };
}
