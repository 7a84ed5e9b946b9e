// HTTP/2 header blocks from one side to the other: every value kept apart, in its order, nothing joined or added.
import { constants, type OutgoingHttpHeaders } from 'node:http2';

/** Names and values by turns, as node:http2 hands them over beside its own joined view. */
export type RawHeaders = readonly string[];

/** HTTP/2 allows one of each; Node refuses to send more, so the first stands. */
const SINGLE_VALUED: ReadonlySet<string> = new Set([
  'access-control-allow-credentials',
  'access-control-max-age',
  'access-control-request-method',
  'age',
  'authorization',
  'content-encoding',
  'content-language',
  'content-length',
  'content-location',
  'content-md5',
  'content-range',
  'content-type',
  'date',
  'dnt',
  'etag',
  'expires',
  'from',
  'host',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'if-unmodified-since',
  'last-modified',
  'location',
  'max-forwards',
  'proxy-authorization',
  'range',
  'referer',
  'retry-after',
  'tk',
  'upgrade-insecure-requests',
  'user-agent',
  'x-content-type-options',
]);

/** They speak of one connection, not of the call (RFC 9113, 8.2.2), and Node throws on them. */
const CONNECTION_SPECIFIC: ReadonlySet<string> = new Set([
  'connection',
  'http2-settings',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
]);

function isSingleValued(name: string): boolean {
  return name.startsWith(':') || SINGLE_VALUED.has(name);
}

/**
 * A received header block in the shape that node:http2 sends, with repeated headers as lists. Node's own view of the
 * block is of no use: it has joined them.
 * @param raw - names and values by turns
 */
export function toOutgoing(raw: RawHeaders): OutgoingHttpHeaders {
  // Without a prototype, a header called "constructor" is a header like any other.
  const headers: OutgoingHttpHeaders = Object.create(null);
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const name = raw[index] ?? '';
    const value = raw[index + 1] ?? '';
    if (CONNECTION_SPECIFIC.has(name) || (name === 'te' && value !== 'trailers')) continue;
    const before = headers[name];
    if (before === undefined) headers[name] = value;
    else if (Array.isArray(before)) before.push(value);
    else if (!isSingleValued(name)) headers[name] = [String(before), value];
  }
  return headers;
}

/** Whether the block was the last thing on its stream: a trailers-only response, or a request without a body. */
export function endsStream(flags: number): boolean {
  return (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0;
}
