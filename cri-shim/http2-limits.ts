// Limits of both HTTP/2 sides: wide enough for CRI's 16 MiB messages and many calls at once, and still limits.
import type { ClientSessionOptions, Http2Session, ServerSessionOptions, Settings } from 'node:http2';

/** Bytes that a sender may be ahead of its reader on one stream: what a call can make us hold. */
const STREAM_WINDOW = 1024 * 1024;
/** The same for all streams of a connection together. */
const CONNECTION_WINDOW = 64 * 1024 * 1024;
/** Bytes of one header block; error details of runtimes are long. */
const HEADER_BLOCK = 1024 * 1024;
/** Calls at the same time on one connection; a client waits with more. */
const MAX_STREAMS = 4096;

const SETTINGS: Settings = {
  initialWindowSize: STREAM_WINDOW,
  maxHeaderListSize: HEADER_BLOCK,
};

const COMMON = {
  /** Mebibytes; Node's 10 would refuse streams while a few large messages are on their way. */
  maxSessionMemory: 512,
  maxSendHeaderBlockLength: HEADER_BLOCK,
  maxHeaderListPairs: 1024,
} as const;

export const SERVER_OPTIONS: ServerSessionOptions = {
  ...COMMON,
  settings: { ...SETTINGS, maxConcurrentStreams: MAX_STREAMS },
  maxSessionRejectedStreams: 10_000,
};

export const CLIENT_OPTIONS: ClientSessionOptions = {
  ...COMMON,
  settings: { ...SETTINGS, enablePush: false },
  /** Until the upstream's own number is there; Node would begin with 100 and let calls wait. */
  peerMaxConcurrentStreams: MAX_STREAMS,
};

/** To be called once the session is connected. */
export function widenConnectionWindow(session: Http2Session): void {
  session.setLocalWindowSize(CONNECTION_WINDOW);
}
