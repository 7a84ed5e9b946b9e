// The server that the kubelet talks to: every call is either intercepted or relayed, and none can end the process.
import {
  constants,
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import { status } from '@grpc/grpc-js';
import { describeError } from '../../lib/errors.ts';
import { SERVER_OPTIONS, widenConnectionWindow } from '../http2-limits.ts';
import { INTERCEPTED } from '../steps/table.ts';
import { answerStatus } from './answer.ts';
import { endsStream, type RawHeaders, toOutgoing } from './headers.ts';
import { type CallParts, interceptCall } from './intercept-call.ts';
import { type RelayedCall, relayCall } from './relay-call.ts';
import { endWhenSilent, SILENCE_LIMITS, type SilenceLimits } from './silent-sessions.ts';

export interface ShimServer {
  /** To listen with; closed by `drain`. */
  readonly server: Http2Server;
  /**
   * Accepts nothing more and waits for the calls under way. Streams of messages, which may never end, are ended after
   * a moment; what is left at the deadline is given up with UNAVAILABLE.
   * @param limitMs - milliseconds
   * @returns how many calls had to be given up
   */
  drain(limitMs: number): Promise<number>;
}

/** What a stream of messages gets before it is ended: the rest of a long answer fits into it. */
const STREAM_GRACE_MS = 500;
const RESTARTING = 'the cri-shim is being restarted';

/** @param limits - when a silent client is asked whether it is still there */
export function createShimServer(parts: CallParts, limits: SilenceLimits = SILENCE_LIMITS): ShimServer {
  const { log } = parts;
  const sessions = new Set<ServerHttp2Session>();
  const relayed = new Set<RelayedCall>();
  const intercepted = new Set<Promise<void>>();

  const relay = (stream: ServerHttp2Stream, flags: number, raw: RawHeaders): void => {
    try {
      const call = relayCall(stream, toOutgoing(raw), endsStream(flags), parts.upstream);
      relayed.add(call);
      stream.once('close', () => relayed.delete(call));
    } catch (error) {
      // node:http2 refuses to send some headers that it has accepted.
      const details = `holdfast: the request cannot be relayed: ${describeError(error)}`;
      answerStatus(stream, { code: status.INTERNAL, details });
    }
  };

  const onStream = (
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    flags: number,
    raw: RawHeaders = [],
  ): void => {
    stream.on('error', () => {
      // Whoever handles the stream learns of it by 'close'.
    });
    if (headers[':method'] !== 'POST') {
      stream.respond({ ':status': constants.HTTP_STATUS_METHOD_NOT_ALLOWED }, { endStream: true });
      return;
    }
    const call = INTERCEPTED.get(headers[':path'] ?? '');
    if (call === undefined) {
      relay(stream, flags, raw);
    } else if (!/^application\/grpc($|[+;])/.test(headers['content-type'] ?? '')) {
      stream.respond({ ':status': constants.HTTP_STATUS_UNSUPPORTED_MEDIA_TYPE }, { endStream: true });
    } else {
      const work = interceptCall(stream, { parsed: headers, raw }, call, parts);
      intercepted.add(work);
      void work.finally(() => intercepted.delete(work));
    }
  };

  const server = createServer(SERVER_OPTIONS);
  server.on('session', (session) => {
    sessions.add(session);
    session.once('close', () => sessions.delete(session));
    session.on('error', (error) => log.info('connection', `a client's connection failed: ${describeError(error)}`));
    widenConnectionWindow(session);
    endWhenSilent(session, limits);
  });
  server.on('sessionError', () => {
    // The session's own listener has logged it.
  });
  server.on('stream', onStream);

  return {
    server,
    async drain(limitMs) {
      server.close();
      // Not the callback of close(): for a session that is closing already it is never called.
      const closed = [...sessions].map((session) => {
        const gone = new Promise<void>((resolve) => session.once('close', resolve));
        session.close();
        return gone;
      });
      const streams = setTimeout(() => {
        for (const call of relayed) if (call.answering) call.interrupt(RESTARTING);
      }, STREAM_GRACE_MS);
      let timer: NodeJS.Timeout | undefined;
      const deadline = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, limitMs);
      });
      await Promise.race([deadline, Promise.all([...closed, ...intercepted])]);
      clearTimeout(streams);
      clearTimeout(timer);
      const givenUp = relayed.size + intercepted.size;
      for (const call of relayed) call.interrupt(RESTARTING);
      // One turn of the loop, so that the last statuses are written before their connections go.
      await new Promise((resolve) => setTimeout(resolve, givenUp > 0 ? 50 : 0));
      for (const session of sessions) session.destroy();
      return givenUp;
    },
  };
}
