// What we say ourselves on a client's stream: a gRPC status, whether or not the response has begun.
import type { OutgoingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { encodeStatusMessage } from '../grpc/status-message.ts';

/** A gRPC status as it goes to the caller. */
export interface GrpcStatus {
  readonly code: number;
  readonly details: string;
}

/** Without the Date header that Node would add: what the runtime did not send does not reach the kubelet. */
export const AS_RECEIVED = { sendDate: false };

export function statusHeaders({ code, details }: GrpcStatus): OutgoingHttpHeaders {
  return { 'grpc-status': String(code), 'grpc-message': encodeStatusMessage(details) };
}

/** Whether anything can still be said on the stream. */
export function isOpen(stream: ServerHttp2Stream): boolean {
  return !stream.destroyed && !stream.closed && !stream.writableEnded;
}

/** Answers a call whose response has not begun, in one header block ("trailers-only"); does nothing on a dead stream. */
export function answerStatus(stream: ServerHttp2Stream, status: GrpcStatus): void {
  if (!isOpen(stream) || stream.headersSent) return;
  const headers = { ':status': 200, 'content-type': 'application/grpc', ...statusHeaders(status) };
  stream.respond(headers, { ...AS_RECEIVED, endStream: true });
  abandonRequest(stream);
}

/** After the answer: a caller that is still sending is told that nobody reads it. */
export function abandonRequest(stream: ServerHttp2Stream): void {
  if (stream.destroyed || stream.closed) return;
  stream.resume();
  if (!stream.readableEnded) stream.close();
}
