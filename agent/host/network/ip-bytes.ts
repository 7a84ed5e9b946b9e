// IP addresses between their text and the bytes that the kernel wants.
import { isIPv4, isIPv6 } from 'node:net';

export type Family = 4 | 6;

/** `AF_INET` and `AF_INET6` of Linux. */
export const FAMILY_NUMBERS: Readonly<Record<Family, number>> = { 4: 2, 6: 10 };
export const ADDRESS_BITS: Readonly<Record<Family, number>> = { 4: 32, 6: 128 };

export interface IpPrefix {
  readonly family: Family;
  readonly bytes: Buffer;
  readonly length: number;
}

function ipv6Bytes(text: string): Buffer {
  // The last 32 bits may be written as an IPv4 address.
  const tail = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(text);
  let hex = text;
  if (tail !== null) {
    const [high, low] = [(Number(tail[2]) << 8) | Number(tail[3]), (Number(tail[4]) << 8) | Number(tail[5])];
    hex = `${tail[1]}${high.toString(16)}:${low.toString(16)}`;
  }
  const [front = '', back] = hex.split('::');
  const groups = (part: string): number[] =>
    part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16));
  const [before, after] = [groups(front), groups(back ?? '')];
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => 0);
  const bytes = Buffer.alloc(16);
  for (const [index, group] of [...before, ...zeros, ...after].entries()) bytes.writeUInt16BE(group, index * 2);
  return bytes;
}

/** Four or sixteen bytes; undefined when the text is no address (one with a zone is none here). */
export function ipBytes(text: string): Buffer | undefined {
  if (isIPv4(text)) return Buffer.from(text.split('.').map(Number));
  return isIPv6(text) && !text.includes('%') ? ipv6Bytes(text) : undefined;
}

/** The shortest form (RFC 5952). @param bytes - four or sixteen */
export function ipText(bytes: Buffer): string {
  if (bytes.length === 4) return bytes.join('.');
  const groups = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(index * 2));
  let [start, length] = [0, 0];
  for (let from = 0; from < 8; from += 1) {
    let to = from;
    while (to < 8 && groups[to] === 0) to += 1;
    if (to - from > length) [start, length] = [from, to - from];
  }
  const hex = (part: readonly number[]): string => part.map((group) => group.toString(16)).join(':');
  if (length < 2) return hex(groups);
  return `${hex(groups.slice(0, start))}::${hex(groups.slice(start + length))}`;
}

export function familyOf(bytes: Buffer): Family {
  return bytes.length === 4 ? 4 : 6;
}

/** Whether no bit is set behind the first `length` ones. */
export function isNetwork(bytes: Buffer, length: number): boolean {
  return bytes.every((byte, index) => {
    const own = Math.min(8, Math.max(0, length - index * 8));
    return (byte & (0xff >> own)) === 0;
  });
}

/** `10.1.0.0/16`; undefined when the text is none, or has bits set behind its length. */
export function parseIpPrefix(text: string): IpPrefix | undefined {
  const [, address = '', digits = ''] = /^([^/]+)\/(\d{1,3})$/.exec(text) ?? [];
  const bytes = ipBytes(address);
  const length = Number(digits);
  if (bytes === undefined || length > ADDRESS_BITS[familyOf(bytes)] || !isNetwork(bytes, length)) return undefined;
  return { family: familyOf(bytes), bytes, length };
}

/** The last address of the network that an IPv4 address is in. */
export function broadcastOf(bytes: Buffer, length: number): Buffer {
  return Buffer.from(bytes.map((byte, index) => byte | (0xff >> Math.min(8, Math.max(0, length - index * 8)))));
}
