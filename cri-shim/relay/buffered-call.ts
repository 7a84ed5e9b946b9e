// A unary call to the runtime whose whole answer is held: for the calls that we intercept and for our own questions.
import {
  constants,
  type IncomingHttpHeaders,
  type IncomingHttpStatusHeader,
  type OutgoingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2';
import { status } from '@grpc/grpc-js';
import { HoldfastError } from '../../lib/errors.ts';
import { MAX_MESSAGE_BYTES } from '../../lib/grpc.ts';
import { decompress } from '../grpc/compression.ts';
import { UnaryMessageCollector } from '../grpc/frame.ts';
import { decodeStatusMessage } from '../grpc/status-message.ts';
import { AS_RECEIVED, abandonRequest, answerStatus, type GrpcStatus, isOpen } from './answer.ts';
import { endsStream, type RawHeaders, toOutgoing } from './headers.ts';
import type { Upstream } from './upstream.ts';

/** What the runtime sent, to be passed on without a change. */
export interface RuntimeAnswer {
  readonly kind: 'answer';
  readonly headers: OutgoingHttpHeaders;
  /** The body as it came, frame headers included. */
  readonly body: Buffer;
  /** undefined when the headers were all there was. */
  readonly trailers: OutgoingHttpHeaders | undefined;
  readonly status: GrpcStatus;
}

/** What a caller gets in the end. */
export type CallAnswer =
  | RuntimeAnswer
  /** The runtime reset the stream; the code is HTTP/2's. */
  | { readonly kind: 'reset'; readonly code: number }
  /** Said by us: no connection to the runtime, or it was lost before the answer was complete; or the step refuses. */
  | { readonly kind: 'status'; readonly status: GrpcStatus };

/** A message of CRI's limit, with room for its frame header. */
const BODY_LIMIT = MAX_MESSAGE_BYTES + 1024;

function statusOf(headers: OutgoingHttpHeaders | undefined): GrpcStatus {
  const text = headers?.['grpc-status'];
  const code = typeof text === 'string' && /^\d{1,3}$/.test(text) ? Number(text) : status.UNKNOWN;
  return { code, details: decodeStatusMessage(String(headers?.['grpc-message'] ?? '')) };
}

/**
 * Sends one request and waits for the whole answer.
 * @param headers - of the request, pseudo headers included
 * @param frame - the framed message
 * @param signal - cancels the call; the promise then rejects with its reason
 * @throws TypeError of node:http2 when the headers cannot be sent
 */
export function callBuffered(
  upstream: Upstream,
  headers: OutgoingHttpHeaders,
  frame: Uint8Array,
  signal: AbortSignal,
): Promise<CallAnswer> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const { stream, reset, sessionProblem } = upstream.open(headers, false);
    let initial: OutgoingHttpHeaders | undefined;
    let trailers: OutgoingHttpHeaders | undefined;
    let trailersOnly = false;
    let ended = false;
    const chunks: Buffer[] = [];
    let received = 0;

    const cancel = (): void => {
      reset(constants.NGHTTP2_CANCEL);
      reject(signal.reason);
    };
    signal.addEventListener('abort', cancel, { once: true });

    stream.on(
      'response',
      (_headers: IncomingHttpHeaders & IncomingHttpStatusHeader, flags: number, raw?: RawHeaders) => {
        initial = toOutgoing(raw ?? []);
        trailersOnly = endsStream(flags);
      },
    );
    stream.on('trailers', (_headers: IncomingHttpHeaders, _flags: number, raw?: RawHeaders) => {
      trailers = toOutgoing(raw ?? []);
    });
    stream.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      received += chunk.length;
      if (received > BODY_LIMIT) reset(constants.NGHTTP2_ENHANCE_YOUR_CALM);
    });
    stream.on('end', () => {
      ended = stream.rstCode === constants.NGHTTP2_NO_ERROR && sessionProblem() === undefined;
    });
    stream.on('error', () => {
      // 'close' follows, and knows the reset code and the state of the connection.
    });
    stream.on('close', () => {
      signal.removeEventListener('abort', cancel);
      const problem = sessionProblem();
      if (initial !== undefined && (trailersOnly || trailers !== undefined || ended)) {
        const body = Buffer.concat(chunks, received);
        resolve({ kind: 'answer', headers: initial, body, trailers, status: statusOf(trailers ?? initial) });
      } else if (problem !== undefined) {
        const details = `holdfast UNAVAILABLE: ${problem}`;
        resolve({ kind: 'status', status: { code: status.UNAVAILABLE, details } });
      } else {
        resolve({ kind: 'reset', code: stream.rstCode });
      }
    });
    stream.end(frame);
  });
}

/**
 * The one message of an answer, decompressed.
 * @throws HoldfastError HOST_FAILURE when there is not exactly one that can be read
 */
export async function readMessage({ headers, body }: RuntimeAnswer): Promise<Buffer> {
  try {
    const collector = new UnaryMessageCollector(MAX_MESSAGE_BYTES);
    collector.push(body);
    return await decompress(collector.end(), String(headers['grpc-encoding'] ?? ''));
  } catch (cause) {
    throw new HoldfastError('HOST_FAILURE', "the runtime's answer cannot be read", { cause });
  }
}

/** Hands a held answer to the caller, as the runtime sent it; does nothing when the caller is gone. */
export function giveAnswer(client: ServerHttp2Stream, answer: CallAnswer): void {
  if (!isOpen(client) || client.headersSent) return;
  if (answer.kind === 'status') {
    answerStatus(client, answer.status);
    return;
  }
  if (answer.kind === 'reset') {
    client.close(answer.code);
    return;
  }
  const { headers, body, trailers } = answer;
  const endStream = trailers === undefined && body.length === 0;
  client.respond(headers, { ...AS_RECEIVED, endStream, waitForTrailers: trailers !== undefined });
  if (!endStream) {
    client.once('wantTrailers', () => {
      if (client.destroyed) return;
      try {
        client.sendTrailers(trailers ?? {});
      } catch {
        // The runtime sent what node:http2 accepts and does not send.
        client.close(constants.NGHTTP2_INTERNAL_ERROR);
      }
    });
    client.end(body);
  }
  abandonRequest(client);
}
