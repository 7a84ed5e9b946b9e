// The caller of an intercepted call: its one message, how long it waits, and whether it is still there.
import type { ServerHttp2Stream } from 'node:http2';
import { HoldfastError } from '../../lib/errors.ts';
import { MAX_MESSAGE_BYTES } from '../../lib/grpc.ts';
import { type UnaryMessage, UnaryMessageCollector } from '../grpc/frame.ts';

/** The longest time that Node's timers can wait (milliseconds). */
const MAX_TIMER_MS = 2 ** 31 - 1;

export interface Caller {
  /** Aborted with an AbortError when the caller gives up, with HoldfastError DEADLINE when its time is over. */
  readonly signal: AbortSignal;
  /** Milliseconds; Infinity without a deadline. */
  remainingMs(): number;
  /** To be called when the call has been answered. */
  release(): void;
}

/** @param timeoutMs - what the caller waits from now on; undefined when it said nothing */
export function watchCaller(stream: ServerHttp2Stream, timeoutMs: number | undefined): Caller {
  const controller = new AbortController();
  const end = timeoutMs === undefined ? Number.POSITIVE_INFINITY : performance.now() + timeoutMs;
  const onClose = (): void => controller.abort(new DOMException('the caller gave up', 'AbortError'));
  stream.once('close', onClose);
  if (stream.destroyed) onClose();
  const onDeadline = (): void => controller.abort(new HoldfastError('DEADLINE', "the caller's deadline has passed"));
  const timer = timeoutMs === undefined ? undefined : setTimeout(onDeadline, Math.min(timeoutMs, MAX_TIMER_MS));
  return {
    signal: controller.signal,
    remainingMs: () => Math.max(0, end - performance.now()),
    release: () => {
      clearTimeout(timer);
      stream.removeListener('close', onClose);
    },
  };
}

/**
 * The one message of a unary request.
 * @throws HoldfastError INVALID_REQUEST or NO_ROOM when it is not exactly one message of at most 16 MiB; the signal's
 *   reason when the caller does not finish it
 */
export function readUnary(stream: ServerHttp2Stream, signal: AbortSignal): Promise<UnaryMessage> {
  return new Promise((resolve, reject) => {
    const collector = new UnaryMessageCollector(MAX_MESSAGE_BYTES);
    signal.throwIfAborted();
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    const onData = (chunk: Buffer): void => {
      try {
        collector.push(chunk);
      } catch (error) {
        // What else comes is read and dropped, so that the answer can be sent.
        stream.removeListener('data', onData);
        stream.resume();
        reject(error);
      }
    };
    stream.on('data', onData);
    stream.once('end', () => {
      // A reset ends the body too: then the signal has the reason.
      if (stream.rstCode !== 0 || stream.aborted) return;
      try {
        resolve(collector.end());
      } catch (error) {
        reject(error);
      }
    });
  });
}
