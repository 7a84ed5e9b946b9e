// Reads the bodies of requests within limits: of one, and of all that are being read at a time.
import type { IncomingMessage } from 'node:http';
import { HoldfastError } from '../../lib/errors.ts';

/** 5,000 whole Nodes of 10 kB, and some more. */
export const MAX_BODY_BYTES = 64 * 1024 * 1024;
/** Of all bodies together. */
export const MAX_BODIES_BYTES = 4 * MAX_BODY_BYTES;

export class BodyTooLarge extends Error {}

export class BodyReader {
  readonly #most: number;
  readonly #mostTogether: number;
  #together = 0;

  constructor(most = MAX_BODY_BYTES, mostTogether = MAX_BODIES_BYTES) {
    this.#most = most;
    this.#mostTogether = mostTogether;
  }

  /**
   * @throws BodyTooLarge
   * @throws HoldfastError UNAVAILABLE when too much is being read already; INVALID_REQUEST when it is cut off
   */
  async read(request: IncomingMessage): Promise<string> {
    if (Number(request.headers['content-length'] ?? 0) > this.#most) throw new BodyTooLarge();
    const chunks: Buffer[] = [];
    let length = 0;
    try {
      for await (const chunk of request) {
        const buffer = chunk as Buffer;
        length += buffer.length;
        this.#together += buffer.length;
        if (length > this.#most) throw new BodyTooLarge();
        if (this.#together > this.#mostTogether) {
          throw new HoldfastError('UNAVAILABLE', 'too many large requests at a time; ask again later');
        }
        chunks.push(buffer);
      }
      return Buffer.concat(chunks).toString('utf8');
    } catch (cause) {
      if (cause instanceof BodyTooLarge || cause instanceof HoldfastError) throw cause;
      throw new HoldfastError('INVALID_REQUEST', 'the request was cut off', { cause });
    } finally {
      this.#together -= length;
    }
  }
}
