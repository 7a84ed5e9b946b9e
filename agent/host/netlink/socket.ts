// A netlink socket of one network namespace: requests go out in one datagram, and their answers are told apart by number.
// The kernel does the work of a request inside send(), where it may wait for its lock or take tens of milliseconds; so that
// is done on a worker thread. What it answered is then queued, and is read without waiting.
import { closeSync } from 'node:fs';
import { endianness } from 'node:os';
import { HoldfastError } from '../../../lib/errors.ts';
import { type Libc, loadLibc } from './libc.ts';
import {
  decodeMessages,
  decodeOutcome,
  describeErrno,
  encodeMessage,
  type Message,
  NLM_F_ACK,
  NLM_F_DUMP,
  NLM_F_DUMP_INTR,
  NLM_F_REQUEST,
  NLMSG_DONE,
  NLMSG_ERROR,
  type Outcome,
} from './message.ts';
import type { NetworkNamespace } from './namespace.ts';
import { Slots } from './slots.ts';

export interface Request {
  readonly type: number;
  /** Besides NLM_F_REQUEST, NLM_F_ACK and NLM_F_DUMP. */
  readonly flags: number;
  /** Asks for all that there is of a kind. */
  readonly isListing?: boolean;
  /** The structure of the message type and its attributes. */
  readonly payload: Buffer;
}

export interface Answer extends Outcome {
  /** What was asked for, without the acknowledgement. */
  readonly messages: readonly Message[];
}

export interface NetlinkSocket {
  /**
   * Sends all requests at once and returns one answer for each, also where the kernel refused. A refused request does not
   * keep the kernel from carrying out those behind it. A listing must be alone.
   * @param signal - gives up before the requests are sent; what the kernel was given is always waited for
   * @throws HoldfastError HOST_FAILURE when the kernel's answers are lost or damaged: what it did is not known then;
   *   UNAVAILABLE when too many requests wait, or when what is listed changes all the time
   */
  ask(requests: readonly Request[], signal: AbortSignal): Promise<readonly Answer[]>;
  /** Waits for what was sent. Nothing may be asked any more. */
  close(): Promise<void>;
}

/** include/uapi/linux/netlink.h, include/linux/socket.h */
const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const NETLINK_ROUTE = 0;
const SOL_NETLINK = 270;
const OPTIONS = { NETLINK_CAP_ACK: 10, NETLINK_EXT_ACK: 11, NETLINK_GET_STRICT_CHK: 12 } as const;

const EINTR = 4;
const EAGAIN = 11;
/** The kernel makes no part of a listing longer than this (NLMSG_GOODSIZE, netlink_recvmsg). */
const RECEIVE_BYTES = 32 * 1024;
const MAX_REQUEST_BYTES = 32 * 1024;
/** The acknowledgements have to fit into the socket's receive buffer. */
const MAX_REQUESTS = 64;
const MAX_LISTING_BYTES = 16 * 1024 * 1024;
const LISTING_TRIES = 5;
const MAX_WAITING = 1024;

/** Node's worker threads are four and carry out file operations, too: these must not wait for the kernel's rtnl lock. */
const WORKERS = new Slots('requests to the kernel', 2, MAX_WAITING);

/** One request that is under way. */
interface Pending {
  readonly messages: Message[];
  outcome: Outcome | undefined;
  isInterrupted: boolean;
}

function failed(what: string, result: number): HoldfastError {
  return new HoldfastError('HOST_FAILURE', `${what}: ${describeErrno(-result)}`);
}

/** To be called inside the namespace. */
function openDescriptor(libc: Libc): number {
  const fd = libc.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (fd < 0) throw failed('a netlink socket cannot be opened', fd);
  try {
    for (const [name, option] of Object.entries(OPTIONS)) {
      const set = libc.setOption(fd, SOL_NETLINK, option, 1);
      if (set < 0) throw failed(`a netlink socket cannot be given the option ${name}`, set);
    }
    // To port 0, the kernel. Nobody else's messages are then taken (netlink_getsockbyportid).
    const address = Buffer.alloc(12);
    address.writeUInt16LE(AF_NETLINK, 0);
    const connected = libc.connect(fd, address);
    if (connected < 0) throw failed('a netlink socket cannot be connected to the kernel', connected);
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/**
 * Opens a socket of the rtnetlink family that stays in this namespace, whatever becomes of the namespace's file.
 * @throws HoldfastError HOST_FAILURE; UNSUPPORTED on a big-endian host
 */
export async function openNetlinkSocket(namespace: NetworkNamespace): Promise<NetlinkSocket> {
  if (endianness() !== 'LE') throw new HoldfastError('UNSUPPORTED', 'netlink is spoken on little-endian hosts only');
  const libc = await loadLibc();
  const fd = namespace.run(() => openDescriptor(libc));
  const turns = new Slots(`requests to the namespace ${namespace.path}`, 1, MAX_WAITING);
  let isClosed = false;
  let underWay = Promise.resolve();
  let sequence = 0;
  const buffer = Buffer.alloc(RECEIVE_BYTES);

  const receive = async (isListing: boolean): Promise<Buffer | undefined> => {
    for (;;) {
      const length = isListing ? await WORKERS.run(() => libc.receiveAside(fd, buffer)) : libc.receive(fd, buffer);
      if (length === -EINTR) continue;
      if (length === -EAGAIN) return undefined;
      if (length < 0) throw failed('the answers of the kernel are lost', length);
      if (length > buffer.length) {
        throw new HoldfastError(
          'HOST_FAILURE',
          `a netlink message of ${length} bytes is longer than the kernel makes them`,
        );
      }
      // A copy: what is decoded refers to it.
      return Buffer.from(buffer.subarray(0, length));
    }
  };

  const collect = async (pending: ReadonlyMap<number, Pending>, isListing: boolean): Promise<void> => {
    let open = pending.size;
    let bytes = 0;
    while (open > 0) {
      const datagram = await receive(isListing);
      if (datagram === undefined) {
        throw new HoldfastError(
          'HOST_FAILURE',
          `the kernel has not answered ${open} of ${pending.size} netlink requests`,
        );
      }
      bytes += datagram.length;
      if (bytes > MAX_LISTING_BYTES) {
        throw new HoldfastError('HOST_FAILURE', `the kernel's answer is longer than ${MAX_LISTING_BYTES} bytes`);
      }
      for (const message of decodeMessages(datagram)) {
        // Others' numbers are answers that were lost when an earlier request failed.
        const request = pending.get(message.sequence);
        if (request === undefined || request.outcome !== undefined) continue;
        if ((message.flags & NLM_F_DUMP_INTR) !== 0 && isListing) request.isInterrupted = true;
        if (message.type === NLMSG_ERROR || message.type === NLMSG_DONE) {
          request.outcome = decodeOutcome(message);
          open -= 1;
        } else request.messages.push(message);
      }
    }
  };

  /** What is left of answers that could not be used; a listing that is not read to its end keeps the next from beginning. */
  const drain = async (): Promise<void> => {
    for (let parts = 0; parts < MAX_LISTING_BYTES / RECEIVE_BYTES; parts += 1) {
      if ((await WORKERS.run(() => libc.receiveAside(fd, buffer))) === -EAGAIN) return;
    }
  };

  const exchange = async (
    requests: readonly Request[],
    isListing: boolean,
    signal: AbortSignal,
  ): Promise<readonly Pending[]> => {
    const pending = new Map<number, Pending>();
    const kind = NLM_F_REQUEST | NLM_F_ACK | (isListing ? NLM_F_DUMP : 0);
    const parts = requests.map(({ type, flags, payload }) => {
      sequence = (sequence + 1) >>> 0;
      pending.set(sequence, { messages: [], outcome: undefined, isInterrupted: false });
      return encodeMessage({ type, flags: flags | kind, sequence, payload });
    });
    const data = Buffer.concat(parts);
    if (data.length > MAX_REQUEST_BYTES) {
      throw new HoldfastError(
        'BUG',
        `${data.length} bytes of netlink requests at once are more than ${MAX_REQUEST_BYTES}`,
      );
    }
    let sent: number;
    do sent = await WORKERS.run(() => libc.sendAside(fd, data), signal);
    while (sent === -EINTR);
    if (sent < 0) throw failed('requests cannot be sent to the kernel', sent);
    try {
      await collect(pending, isListing);
    } catch (error) {
      await drain();
      throw error;
    }
    return [...pending.values()];
  };

  const list = async (request: Request, signal: AbortSignal): Promise<readonly Pending[]> => {
    for (let tries = 1; tries <= LISTING_TRIES; tries += 1) {
      const answers = await exchange([request], true, signal);
      if (answers.every(({ isInterrupted }) => !isInterrupted)) return answers;
    }
    throw new HoldfastError(
      'UNAVAILABLE',
      `the kernel's listing changed ${LISTING_TRIES} times while it was read; try again when the host is calmer`,
    );
  };

  return {
    ask: async (requests, signal) => {
      const [first] = requests;
      if (first === undefined) return [];
      if (requests.length > MAX_REQUESTS || (requests.length > 1 && requests.some(({ isListing }) => isListing))) {
        throw new HoldfastError('BUG', 'these netlink requests cannot be sent together');
      }
      return await turns.run(async () => {
        if (isClosed) throw new HoldfastError('UNAVAILABLE', `the socket of the namespace ${namespace.path} is closed`);
        const answers = first.isListing === true ? list(first, signal) : exchange(requests, false, signal);
        underWay = answers.then(
          () => {},
          () => {},
        );
        return (await answers).map(({ outcome, messages }) => ({
          errno: 0,
          explanation: undefined,
          ...outcome,
          messages,
        }));
      }, signal);
    },
    close: async () => {
      if (isClosed) return;
      isClosed = true;
      // Its number would be another file's while a worker thread still uses it.
      await underWay;
      closeSync(fd);
    },
  };
}
