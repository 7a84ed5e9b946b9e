// A runtime below the shim: a real HTTP/2 server that keeps what it received byte for byte and answers as it is told.
import { createServer, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import { encodeFrame } from '../../../../cri-shim/grpc/frame.ts';
import type { RawHeaders } from '../../../../cri-shim/relay/headers.ts';

export interface ReceivedCall {
  readonly path: string;
  readonly headers: RawHeaders;
  readonly parsed: IncomingHttpHeaders;
  /** The whole body, frame header included; undefined while it is still being sent. */
  body: Buffer | undefined;
  readonly stream: ServerHttp2Stream;
  /** The HTTP/2 code with which the stream was closed; undefined while it is open. */
  closedWith: number | undefined;
}

export interface FakeRuntime {
  readonly calls: ReceivedCall[];
  /** Stops like a killed process: every connection is cut, and nobody listens any more. */
  kill(): Promise<void>;
}

/** Called when the request is complete; where `onOpen` is given, that is called first. */
export interface RuntimeBehaviour {
  readonly onCall?: (call: ReceivedCall) => void;
  readonly onOpen?: (call: ReceivedCall) => void;
}

export async function startFakeRuntime(path: string, behaviour: RuntimeBehaviour): Promise<FakeRuntime> {
  const calls: ReceivedCall[] = [];
  const sockets = new Set<Socket>();
  const server = createServer({ settings: { initialWindowSize: 1 << 20, maxHeaderListSize: 1 << 20 } });
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  server.on('sessionError', () => {});
  server.on(
    'stream',
    (stream: ServerHttp2Stream, parsed: IncomingHttpHeaders, _flags: number, headers: RawHeaders = []) => {
      const path = parsed[':path'] ?? '';
      const call: ReceivedCall = { path, headers, parsed, body: undefined, stream, closedWith: undefined };
      calls.push(call);
      const chunks: Buffer[] = [];
      stream.on('error', () => {});
      stream.on('close', () => {
        call.closedWith = stream.rstCode;
      });
      behaviour.onOpen?.(call);
      if (behaviour.onCall === undefined) return;
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('end', () => {
        if (stream.aborted) return;
        call.body = Buffer.concat(chunks);
        behaviour.onCall?.(call);
      });
    },
  );
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return {
    calls,
    kill: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

/** Answers a call as gRPC servers do: headers, one message, trailers. */
export function reply(call: ReceivedCall, message: Uint8Array, trailers: Record<string, string | string[]> = {}): void {
  if (call.stream.destroyed) return;
  call.stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
  call.stream.on('wantTrailers', () => call.stream.sendTrailers({ 'grpc-status': '0', ...trailers }));
  call.stream.end(encodeFrame(message));
}

/** Answers with an error in one header block ("trailers-only"). */
export function replyError(call: ReceivedCall, code: number, message: string): void {
  if (call.stream.destroyed) return;
  const headers = { ':status': 200, 'content-type': 'application/grpc', 'grpc-status': String(code) };
  call.stream.respond({ ...headers, 'grpc-message': message }, { endStream: true });
}
