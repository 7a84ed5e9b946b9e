// Node's HTTP/2 never tells when nghttp2 has ended a session over a protocol error, and does not see its peer leave
// after that (Node 20.20: the descriptor stays open for good). So a client that is silent for long is asked to answer.
import type { ServerHttp2Session } from 'node:http2';

export interface SilenceLimits {
  /** Milliseconds without any frame after which a client is asked. */
  readonly idleMs: number;
  /** Milliseconds in which it has to answer. */
  readonly answerMs: number;
}

export const SILENCE_LIMITS: SilenceLimits = { idleMs: 300_000, answerMs: 10_000 };

/** Destroys the session when its client does not answer a ping; calls may be under way or not. */
export function endWhenSilent(session: ServerHttp2Session, { idleMs, answerMs }: SilenceLimits): void {
  session.setTimeout(idleMs, () => {
    if (session.destroyed) return;
    const deadline = setTimeout(() => session.destroy(), answerMs);
    session.once('close', () => clearTimeout(deadline));
    try {
      session.ping((error) => {
        if (error === null) clearTimeout(deadline);
      });
    } catch {
      session.destroy();
    }
  });
}
