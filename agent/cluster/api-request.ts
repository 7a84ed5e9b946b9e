// One request to the API server: bounded in time and length, ended by a signal.
import type { IncomingMessage } from 'node:http';
import https from 'node:https';
import { HoldfastError } from '../../lib/errors.ts';
import type { ApiAccess } from './api-access.ts';
import { ApiError, apiErrorFrom } from './api-error.ts';

export interface RequestLimits {
  /** Until the answer begins, milliseconds. */
  readonly answerMs: number;
  /** Between two parts of the answer. */
  readonly idleMs: number;
  /** For all of it. */
  readonly totalMs: number;
}

const MAX_REFUSAL_BYTES = 64 * 1024;
const NEWLINE = 0x0a;

export interface ApiRequest {
  readonly method: 'GET' | 'PATCH' | 'DELETE';
  readonly path: string;
  /** Default `application/json`. */
  readonly accept?: string;
  readonly body?: { readonly type: string; readonly text: string };
  /** What a refusal for the want of rights says is needed; default what the pod source needs. */
  readonly rights?: string;
}

/** Sends a GET as {@link send} does. */
export async function get(
  access: ApiAccess,
  path: string,
  limits: RequestLimits,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  return send(access, { method: 'GET', path }, limits, signal);
}

const GOOD = new Set([200, 201]);

/**
 * Sends the request; resolves when a good answer begins. Its body must be read to the end or destroyed.
 * @throws ApiError for every other answer
 * @throws HoldfastError DEADLINE when none comes, UNAVAILABLE when the server cannot be reached or is not trusted
 * @throws the signal's reason
 */
export async function send(
  access: ApiAccess,
  { method, path, accept = 'application/json', body, rights }: ApiRequest,
  limits: RequestLimits,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const { server, options } = access;
  const url = new URL(`${server.replace(/\/$/, '')}${path}`);
  // Node itself frames no body of a DELETE: without the length the server takes the request for one that has none.
  const ofBody = body && { 'content-type': body.type, 'content-length': Buffer.byteLength(body.text) };
  const own = { accept, 'user-agent': 'holdfast', ...ofBody };
  const headers = { ...access.headers, ...own };
  signal.throwIfAborted();
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const request = https.request(url, { ...options, method, headers, signal });
    // Rejected here: a request that still waits for a tunnel through a proxy says nothing when it is destroyed.
    const giveUp = (error: unknown): void => {
      settle();
      reject(error);
      request.destroy();
    };
    const onAbort = (): void => giveUp(signal.reason);
    const timer = setTimeout(() => {
      giveUp(new HoldfastError('DEADLINE', `no answer within ${limits.answerMs / 1000} s`));
    }, limits.answerMs);
    const settle = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    request.on('response', (answer) => {
      settle();
      resolve(answer);
    });
    // Stays for the life of the request: an error after the answer began shows in its body, too.
    request.on('error', (error) => giveUp(unreachable(error)));
    request.on('upgrade', (_answer, socket) => {
      socket.destroy();
      giveUp(new HoldfastError('UNAVAILABLE', 'the API server answered with another protocol'));
    });
    request.on('close', () => giveUp(new HoldfastError('UNAVAILABLE', 'the API server closed without an answer')));
    request.end(body?.text);
  });
  const { statusCode = 0 } = response;
  if (GOOD.has(statusCode)) return response;
  throw apiErrorFrom(statusCode, await readRefusal(response, limits), response.headers['retry-after'], rights);
}

/** Of several addresses that were tried the first says why; Node's own sum of them has no message. */
function unreachable(error: Error): HoldfastError {
  if (error instanceof HoldfastError) return error;
  const cause: unknown = error instanceof AggregateError ? (error.errors[0] as unknown) : error;
  return new HoldfastError('UNAVAILABLE', 'the API server cannot be reached', { cause });
}

async function readRefusal(response: IncomingMessage, limits: RequestLimits): Promise<unknown> {
  try {
    return parseJson(await readText(response, MAX_REFUSAL_BYTES, limits));
  } catch {
    // Proxies answer with pages of their own: the status alone says enough.
    return undefined;
  }
}

/** @throws HoldfastError without the text or a cause: Node's own message has a piece of the text in it, maybe a secret */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    throw new HoldfastError('UNAVAILABLE', 'the API server sent something that is not JSON');
  }
}

async function* readChunks(body: IncomingMessage, { idleMs, totalMs }: RequestLimits): AsyncGenerator<Buffer> {
  const endWith = (message: string) => (): void => void body.destroy(new HoldfastError('DEADLINE', message));
  const idle = setTimeout(endWith(`the API server was silent for ${idleMs / 1000} s`), idleMs);
  const total = setTimeout(endWith(`the answer took over ${totalMs / 1000} s`), totalMs);
  try {
    for await (const chunk of body) {
      idle.refresh();
      yield chunk as Buffer;
    }
  } catch (cause) {
    if (cause instanceof HoldfastError) throw cause;
    throw new HoldfastError('UNAVAILABLE', 'the connection to the API server broke', { cause });
  } finally {
    clearTimeout(idle);
    clearTimeout(total);
    body.destroy();
  }
}

/** @throws ApiError too-large */
export async function readText(body: IncomingMessage, maxBytes: number, limits: RequestLimits): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of readChunks(body, limits)) {
    length += chunk.length;
    if (length > maxBytes) throw tooLarge(maxBytes);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/**
 * The lines of an answer as they come; never more than one of them is kept. What comes after the last newline is left
 * out: the connection was cut within a line.
 * @throws ApiError too-large
 */
export async function* readLines(
  body: IncomingMessage,
  maxBytes: number,
  limits: RequestLimits,
): AsyncGenerator<string> {
  let begun: Buffer[] = [];
  let length = 0;
  for await (const chunk of readChunks(body, limits)) {
    let start = 0;
    for (;;) {
      const end = chunk.indexOf(NEWLINE, start);
      const part = chunk.subarray(start, end < 0 ? undefined : end);
      length += part.length;
      if (length > maxBytes) throw tooLarge(maxBytes);
      begun.push(part);
      if (end < 0) break;
      const line = Buffer.concat(begun).toString('utf8');
      begun = [];
      length = 0;
      start = end + 1;
      if (line.trim() !== '') yield line;
    }
  }
}

function tooLarge(maxBytes: number): ApiError {
  return new ApiError('too-large', `the API server sent more than ${maxBytes} bytes at once`);
}
