// The attributes of netlink messages: type, length, value, each padded to four bytes, and nested in one another.
// Source: include/uapi/linux/netlink.h. In the byte order of the host, which openNetlinkSocket() checks to be little-endian.
import { HoldfastError } from '../../../lib/errors.ts';

export interface Attribute {
  /** Without the flags that say how it is encoded. */
  readonly type: number;
  readonly value: Buffer;
}

const HEADER_BYTES = 4;
const MAX_BYTES = 0xffff;
const NLA_F_NESTED = 0x8000;
const NLA_TYPE_MASK = 0x3fff;

/** Up to the next multiple of four. */
export function align(length: number): number {
  return (length + 3) & ~3;
}

function encode(type: number, value: Uint8Array): Buffer {
  const length = HEADER_BYTES + value.length;
  if (length > MAX_BYTES) {
    throw new HoldfastError(
      'BUG',
      `a netlink attribute of ${value.length} bytes cannot be encoded: it has 16 bits for that`,
    );
  }
  const bytes = Buffer.alloc(align(length));
  bytes.writeUInt16LE(length, 0);
  bytes.writeUInt16LE(type, 2);
  bytes.set(value, HEADER_BYTES);
  return bytes;
}

/** @throws HoldfastError BUG when the value is longer than 65531 bytes */
export function attribute(type: number, value: Uint8Array): Buffer {
  return encode(type & NLA_TYPE_MASK, value);
}

export function u8Attribute(type: number, value: number): Buffer {
  return attribute(type, Uint8Array.of(value));
}

export function u32Attribute(type: number, value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return attribute(type, bytes);
}

/** With the closing NUL that the kernel wants. */
export function textAttribute(type: number, value: string): Buffer {
  return attribute(type, Buffer.from(`${value}\0`));
}

/** @param parts - encoded attributes, or a structure before them */
export function nestedAttribute(type: number, ...parts: readonly Uint8Array[]): Buffer {
  return encode((type & NLA_TYPE_MASK) | NLA_F_NESTED, Buffer.concat(parts));
}

/**
 * The attributes of a message or of an attribute, in their order. Up to three bytes after the last are padding.
 * @throws HoldfastError HOST_FAILURE when a length leads out of the bytes or stands still
 */
export function decodeAttributes(bytes: Buffer): readonly Attribute[] {
  const attributes: Attribute[] = [];
  let offset = 0;
  while (bytes.length - offset >= HEADER_BYTES) {
    const length = bytes.readUInt16LE(offset);
    if (length < HEADER_BYTES || length > bytes.length - offset) {
      throw new HoldfastError(
        'HOST_FAILURE',
        `a netlink attribute says it has ${length} bytes, of ${bytes.length - offset} that are left`,
      );
    }
    attributes.push({
      type: bytes.readUInt16LE(offset + 2) & NLA_TYPE_MASK,
      value: bytes.subarray(offset + HEADER_BYTES, offset + length),
    });
    offset += align(length);
  }
  return attributes;
}

/** Of several with the same type the last one counts, as in the kernel. */
export class Attributes {
  readonly #values: ReadonlyMap<number, Buffer>;

  /** @throws HoldfastError HOST_FAILURE, see {@link decodeAttributes} */
  constructor(bytes: Buffer) {
    this.#values = new Map(decodeAttributes(bytes).map(({ type, value }) => [type, value]));
  }

  bytes(type: number): Buffer | undefined {
    return this.#values.get(type);
  }

  /** undefined when it is not there. @throws HoldfastError HOST_FAILURE when it is shorter than a number */
  u32(type: number): number | undefined {
    return this.#sized(type, 4)?.readUInt32LE();
  }

  /** undefined when it is not there. @throws HoldfastError HOST_FAILURE when it is empty */
  u8(type: number): number | undefined {
    return this.#sized(type, 1)?.readUInt8();
  }

  /** Up to the first NUL. */
  text(type: number): string | undefined {
    const value = this.#values.get(type);
    if (value === undefined) return undefined;
    const end = value.indexOf(0);
    return value.toString('utf8', 0, end < 0 ? value.length : end);
  }

  /** Empty when it is not there. @throws HoldfastError HOST_FAILURE, see {@link decodeAttributes} */
  nested(type: number): Attributes {
    return new Attributes(this.#values.get(type) ?? Buffer.alloc(0));
  }

  #sized(type: number, length: number): Buffer | undefined {
    const value = this.#values.get(type);
    if (value !== undefined && value.length < length) {
      throw new HoldfastError(
        'HOST_FAILURE',
        `netlink attribute ${type} has ${value.length} bytes instead of ${length}`,
      );
    }
    return value;
  }
}
