// One call relayed as it is: bytes, metadata, trailers, cancellation and back-pressure in both directions.
import {
  constants,
  type IncomingHttpHeaders,
  type IncomingHttpStatusHeader,
  type OutgoingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2';
import { status } from '@grpc/grpc-js';
import { AS_RECEIVED, abandonRequest, answerStatus, isOpen, statusHeaders } from './answer.ts';
import { endsStream, type RawHeaders, toOutgoing } from './headers.ts';
import { type BodyEnd, relayBody } from './relay-body.ts';
import type { Upstream } from './upstream.ts';

const { NGHTTP2_CANCEL: CANCEL, NGHTTP2_NO_ERROR: NO_ERROR } = constants;

/** A relayed call while it lasts. */
export interface RelayedCall {
  /** Whether the runtime has begun to answer: what lasts from then on is a stream of messages. */
  readonly answering: boolean;
  /** Gives the call up: the caller gets UNAVAILABLE, the runtime a cancellation. */
  interrupt(why: string): void;
}

/**
 * Relays the call; everything that can happen to either side is handled until both streams are closed.
 * @param client - the caller's stream, just opened
 * @param headers - the request's header block for the runtime
 * @param endStream - whether the request has no body
 * @throws TypeError of node:http2 when the headers cannot be sent
 */
export function relayCall(
  client: ServerHttp2Stream,
  headers: OutgoingHttpHeaders,
  endStream: boolean,
  upstream: Upstream,
): RelayedCall {
  const { stream, reset, sessionProblem } = upstream.open(headers, endStream);
  let trailers: OutgoingHttpHeaders | undefined;
  let complete = false;

  /** The response cannot be completed: says why in the trailers, which may come at any point of a response. */
  const fail = (why: string): void => {
    if (complete || !isOpen(client)) return;
    complete = true;
    const failure = { code: status.UNAVAILABLE, details: `holdfast UNAVAILABLE: ${why}` };
    if (!client.headersSent) {
      answerStatus(client, failure);
      return;
    }
    trailers = statusHeaders(failure);
    client.end();
  };

  /** The runtime sent what node:http2 accepts and does not send. */
  const giveUp = (): void => {
    complete = true;
    client.close(constants.NGHTTP2_INTERNAL_ERROR);
    reset(CANCEL);
  };
  /** A reset and a lost connection end the body too; without trailers they are told apart when the stream closes. */
  const judgeEnd = (): BodyEnd => {
    if (trailers === undefined && (stream.rstCode !== NO_ERROR || sessionProblem() !== undefined)) return 'drop';
    if (complete) return 'drop';
    complete = true;
    return 'pass on';
  };

  stream.on('response', (_headers: IncomingHttpHeaders & IncomingHttpStatusHeader, flags: number, raw?: RawHeaders) => {
    if (!isOpen(client)) return;
    complete = endsStream(flags);
    try {
      client.respond(toOutgoing(raw ?? []), { ...AS_RECEIVED, endStream: complete, waitForTrailers: !complete });
    } catch {
      giveUp();
      return;
    }
    if (complete) stream.resume();
    else relayBody(stream, client, judgeEnd);
  });
  stream.on('trailers', (_headers: IncomingHttpHeaders, _flags: number, raw?: RawHeaders) => {
    trailers = toOutgoing(raw ?? []);
  });
  stream.on('error', () => {
    // 'close' follows, and knows the reset code and the state of the connection.
  });
  stream.on('close', () => {
    const problem = sessionProblem();
    if (complete) abandonRequest(client);
    else if (problem !== undefined) fail(problem);
    else client.close(stream.rstCode);
  });

  client.on('wantTrailers', () => {
    if (client.destroyed) return;
    try {
      client.sendTrailers(trailers ?? {});
    } catch {
      giveUp();
    }
  });
  client.on('error', () => {
    // 'close' follows.
  });
  client.on('close', () => {
    reset(client.rstCode === NO_ERROR ? CANCEL : client.rstCode);
  });
  if (!endStream) {
    // A caller that gave up has not finished its request: the runtime must see a reset, not an end.
    relayBody(client, stream, () => (client.rstCode === NO_ERROR && !client.aborted ? 'pass on' : 'drop'));
  }

  return {
    get answering() {
      return client.headersSent;
    },
    interrupt(why) {
      fail(why);
      reset(CANCEL);
    },
  };
}
