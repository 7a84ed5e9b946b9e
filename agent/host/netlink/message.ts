// Netlink messages: a header of 16 bytes and a payload, several of them in one buffer, and the kernel's acknowledgements.
// Source: include/uapi/linux/netlink.h.
import { getSystemErrorMap } from 'node:util';
import { HoldfastError } from '../../../lib/errors.ts';
import { Attributes, align } from './attributes.ts';

export const NLM_F_REQUEST = 0x1;
export const NLM_F_ACK = 0x4;
/** On parts of a listing: something changed in between, so that it may lack entries. */
export const NLM_F_DUMP_INTR = 0x10;
export const NLM_F_DUMP = 0x300;
export const NLM_F_REPLACE = 0x100;
export const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;
/** On acknowledgements only. */
const NLM_F_CAPPED = 0x100;
const NLM_F_ACK_TLVS = 0x200;

export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;

const HEADER_BYTES = 16;
const NLMSGERR_ATTR_MSG = 1;

export interface Message {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  readonly payload: Buffer;
}

/** Padded, so that another message can follow. */
export function encodeMessage({ type, flags, sequence, payload }: Message): Buffer {
  const length = HEADER_BYTES + payload.length;
  const bytes = Buffer.alloc(align(length));
  bytes.writeUInt32LE(length, 0);
  bytes.writeUInt16LE(type, 4);
  bytes.writeUInt16LE(flags, 6);
  bytes.writeUInt32LE(sequence, 8);
  // The port stays 0: the kernel knows who sends.
  bytes.set(payload, HEADER_BYTES);
  return bytes;
}

/**
 * The messages of one datagram.
 * @throws HoldfastError HOST_FAILURE when a length leads out of the bytes or stands still
 */
export function decodeMessages(bytes: Buffer): readonly Message[] {
  const messages: Message[] = [];
  let offset = 0;
  while (offset < bytes.length) {
    const left = bytes.length - offset;
    const length = left < HEADER_BYTES ? 0 : bytes.readUInt32LE(offset);
    if (length < HEADER_BYTES || length > left) {
      throw new HoldfastError(
        'HOST_FAILURE',
        `a netlink message says it has ${length} bytes, of ${left} that are left`,
      );
    }
    messages.push({
      type: bytes.readUInt16LE(offset + 4),
      flags: bytes.readUInt16LE(offset + 6),
      sequence: bytes.readUInt32LE(offset + 8),
      payload: bytes.subarray(offset + HEADER_BYTES, offset + length),
    });
    offset += align(length);
  }
  return messages;
}

/** How a request ended. */
export interface Outcome {
  /** 0: it was done. */
  readonly errno: number;
  /** The kernel's own explanation, where it has one. */
  readonly explanation: string | undefined;
}

/**
 * Reads an NLMSG_ERROR, which is also how success is told, or an NLMSG_DONE, which ends a listing.
 * @throws HoldfastError HOST_FAILURE when it is too short or its attributes are damaged
 */
export function decodeOutcome({ type, flags, payload }: Message): Outcome {
  // The error and the header of the message that it is about; a listing's end may come without its number.
  const least = type === NLMSG_ERROR ? 4 + HEADER_BYTES : 0;
  if (payload.length < least) {
    throw new HoldfastError('HOST_FAILURE', `a netlink acknowledgement has only ${payload.length} bytes`);
  }
  const errno = payload.length >= 4 ? -payload.readInt32LE(0) : 0;
  if ((flags & NLM_F_ACK_TLVS) === 0) return { errno, explanation: undefined };
  let start = 4;
  if (type === NLMSG_ERROR) {
    start += (flags & NLM_F_CAPPED) === 0 ? Math.max(HEADER_BYTES, align(payload.readUInt32LE(4))) : HEADER_BYTES;
  }
  return { errno, explanation: new Attributes(payload.subarray(start)).text(NLMSGERR_ATTR_MSG) };
}

/** An error number in words: `file already exists (EEXIST)`. */
export function describeErrno(errno: number): string {
  const [name, words] = getSystemErrorMap().get(-errno) ?? [];
  return name === undefined ? `error ${errno}` : `${words} (${name})`;
}
