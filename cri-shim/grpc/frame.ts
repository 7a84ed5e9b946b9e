// gRPC's length-prefixed messages: one byte of flags, four bytes of length, the message.
import { HoldfastError } from '../../lib/errors.ts';

const HEADER_BYTES = 5;

/** The message of a unary call as it stood on the wire. */
export interface UnaryMessage {
  readonly compressed: boolean;
  /** With the header. */
  readonly frame: Buffer;
  /** Without it. */
  readonly bytes: Buffer;
}

/** A message with its header, not compressed. */
export function encodeFrame(message: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(HEADER_BYTES + message.length);
  frame.writeUInt8(0, 0);
  frame.writeUInt32BE(message.length, 1);
  frame.set(message, HEADER_BYTES);
  return frame;
}

/** Puts the one message of a unary call together from chunks that were cut anywhere. */
export class UnaryMessageCollector {
  readonly #limitBytes: number;
  readonly #chunks: Buffer[] = [];
  #received = 0;
  #header = Buffer.alloc(0);

  /** @param limitBytes - the longest message that is accepted; a longer one is refused as soon as it is announced */
  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  /**
   * @throws HoldfastError INVALID_REQUEST when the flags are not gRPC's or more than one message was sent, NO_ROOM
   *   when the message is longer than the limit; the collector must not be used after that
   */
  push(chunk: Buffer): void {
    if (this.#header.length < HEADER_BYTES) {
      this.#header = Buffer.concat([this.#header, chunk.subarray(0, HEADER_BYTES - this.#header.length)]);
      this.#checkHeader();
    }
    this.#chunks.push(chunk);
    this.#received += chunk.length;
    const announced = this.#announced();
    if (announced !== undefined && this.#received > HEADER_BYTES + announced) {
      throw new HoldfastError('INVALID_REQUEST', 'the request has more than one message, or bytes after its message');
    }
  }

  /**
   * Called when the sender has ended its side.
   * @throws HoldfastError INVALID_REQUEST when there was no message or it was cut short
   */
  end(): UnaryMessage {
    const announced = this.#announced();
    if (announced === undefined || this.#received !== HEADER_BYTES + announced) {
      throw new HoldfastError('INVALID_REQUEST', `the message was cut short after ${this.#received} bytes`);
    }
    const frame = Buffer.concat(this.#chunks, this.#received);
    return { compressed: frame[0] === 1, frame, bytes: frame.subarray(HEADER_BYTES) };
  }

  #announced(): number | undefined {
    return this.#header.length < HEADER_BYTES ? undefined : this.#header.readUInt32BE(1);
  }

  #checkHeader(): void {
    const flags = this.#header[0];
    if (flags !== undefined && flags > 1) {
      throw new HoldfastError('INVALID_REQUEST', `the message begins with byte ${flags}; gRPC has 0 or 1 there`);
    }
    const announced = this.#announced();
    if (announced !== undefined && announced > this.#limitBytes) {
      throw new HoldfastError(
        'NO_ROOM',
        `the message has ${announced} bytes; the limit of CRI is ${this.#limitBytes} bytes`,
      );
    }
  }
}
