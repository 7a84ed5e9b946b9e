// The one HTTP/2 session to the runtime, made again at the next call whenever it has ended.
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect as connectHttp2,
  type OutgoingHttpHeaders,
} from 'node:http2';
import { connect as connectSocket } from 'node:net';
import { describeError } from '../../lib/errors.ts';
import { CLIENT_OPTIONS, widenConnectionWindow } from '../http2-limits.ts';

/** A stream to the runtime, and what to say when the connection below it fails. */
export interface UpstreamStream {
  readonly stream: ClientHttp2Stream;
  /**
   * Gives the call up.
   * @param code - of HTTP/2; a request that has not ended is always cancelled
   */
  readonly reset: (code: number) => void;
  /** Why the session ended, in words; undefined while it is in use. */
  readonly sessionProblem: () => string | undefined;
}

export interface Upstream {
  /**
   * Begins a call. A runtime that is not there shows as a stream that fails at once.
   * @throws TypeError of node:http2 when the headers cannot be sent
   */
  open(headers: OutgoingHttpHeaders, endStream: boolean): UpstreamStream;
  close(): void;
}

/** @param socketPath - of the runtime; nothing is connected before the first call */
export function createUpstream(socketPath: string): Upstream {
  let current: { readonly session: ClientHttp2Session; problem: string | undefined } | undefined;

  const connect = (): NonNullable<typeof current> => {
    const socket = connectSocket(socketPath);
    const session = connectHttp2('http://localhost', { ...CLIENT_OPTIONS, createConnection: () => socket });
    const connection: NonNullable<typeof current> = { session, problem: undefined };
    const note = (error: unknown): void => {
      connection.problem ??= `${socketPath}: ${describeError(error)}`;
    };
    // The socket's own error comes before those of the streams, which therefore can say why they failed.
    socket.on('error', note);
    session.on('error', note);
    session.once('connect', () => widenConnectionWindow(session));
    session.on('goaway', () => {
      connection.problem ??= `${socketPath}: the runtime is shutting down`;
    });
    session.on('close', () => {
      connection.problem ??= `${socketPath}: the connection was closed`;
      if (current === connection) current = undefined;
    });
    return connection;
  };

  return {
    open(headers, endStream) {
      if (current === undefined || current.session.closed || current.session.destroyed) current = connect();
      const connection = current;
      const abort = new AbortController();
      const stream = connection.session.request(headers, { endStream, signal: abort.signal });
      return {
        stream,
        reset: (code) => {
          if (stream.closed || stream.destroyed) return;
          // close() first ends the request, and the runtime would take half of it for the whole.
          if (stream.writableEnded) stream.close(code);
          else abort.abort();
        },
        sessionProblem: () => {
          if (connection.problem !== undefined) return connection.problem;
          const ended = connection.session.closed || connection.session.destroyed;
          return ended ? `${socketPath}: the connection was closed` : undefined;
        },
      };
    },
    close() {
      current?.session.destroy();
    },
  };
}
