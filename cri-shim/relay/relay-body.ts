// The body of one direction, with back-pressure. Unlike pipe(), the last chunk and the end leave in one frame, which
// saves a small call two writes, and the caller decides whether an end is an end.
import type { Http2Stream } from 'node:http2';

/** What is done with the end of a body. */
export type BodyEnd = 'pass on' | 'drop';

/**
 * @param judgeEnd - called when `from` has ended: a reset ends it, too, and must not look like an end to the other side
 */
export function relayBody(from: Http2Stream, to: Http2Stream, judgeEnd: () => BodyEnd): void {
  // A chunk waits until the end of this turn of the event loop, in which its end arrives if it is the last.
  let held: Buffer | undefined;
  let flushing: NodeJS.Immediate | undefined;
  let waiting = false;

  const write = (chunk: Buffer): void => {
    if (to.destroyed || to.closed || to.writableEnded) return;
    if (to.write(chunk) || waiting) return;
    waiting = true;
    from.pause();
    to.once('drain', () => {
      waiting = false;
      from.resume();
    });
  };
  const flush = (): void => {
    flushing = undefined;
    const chunk = held;
    held = undefined;
    if (chunk !== undefined) write(chunk);
  };
  from.on('data', (chunk: Buffer) => {
    if (held !== undefined) write(held);
    held = chunk;
    flushing ??= setImmediate(flush);
  });
  from.on('end', () => {
    clearImmediate(flushing);
    const end = judgeEnd();
    if (end === 'drop' || to.destroyed || to.closed || to.writableEnded) return;
    if (held === undefined) to.end();
    else to.end(held);
    held = undefined;
  });
  // Nobody reads the rest of a body whose reader is gone; it still has to be taken off the connection.
  to.once('close', () => from.resume());
}
