// cni.sock: the plugin's executable brings a call, waits, and takes the answer with it. A bounded number of them, and none
// that only begins to speak.
import net from 'node:net';
import type { Registry } from 'prom-client';
import { acceptErrors } from '../../lib/accept-errors.ts';
import { describeError, HoldfastError } from '../../lib/errors.ts';
import { listenUnix } from '../../lib/unix-socket.ts';
import { type Logger, rateLimitedWarnings } from '../log.ts';
import type { RawCall } from '../network/cni/parse-request.ts';
import type { CniHandler } from '../network/cni/request.ts';
import { NEWEST_VERSION } from '../network/cni/versions.ts';
import {
  abortReason,
  answerCall,
  type FinishedCall,
  giveUpCall,
  outlivesCaller,
  refuseCall,
  tooMany,
} from './cni-calls.ts';
import { recordCniCalls } from './cni-metrics.ts';
import { receiveCall } from './cni-receive.ts';
import { encodeAnswer } from './cni-wire.ts';

/** Times in milliseconds. */
export interface CniLimits {
  /** Under way at a time; a call whose handler does not return counts until it does. */
  readonly mostCalls: number;
  /** For a request to arrive, and for an answer to be taken. */
  readonly sendMs: number;
  /** For the handler, until its signal aborts. */
  readonly callMs: number;
  /** From then until the caller is answered without it. */
  readonly unwindMs: number;
}

/** Call and unwinding together are shorter than the 100 s after which the executable gives up by itself. */
export const CNI_LIMITS: CniLimits = { mostCalls: 512, sendMs: 10_000, callMs: 90_000, unwindMs: 5_000 };

export interface CniServerOptions {
  /** Of the socket; root alone may connect. */
  readonly path: string;
  readonly handler: CniHandler;
  readonly registry: Registry;
  readonly logger: Logger;
  readonly limits?: CniLimits;
}

export interface CniServer {
  /**
   * Takes no more calls. Those that are under way have `graceMs` milliseconds left; then their signals abort.
   * Resolves when the last handler has returned, or has had its time to unwind.
   */
  close(graceMs: number): Promise<void>;
}

const WARNING_INTERVAL_MS = 10_000;
const ROOT_ONLY = 0o600;

/** @throws HoldfastError PRECONDITION when another agent listens on the path, HOST_FAILURE when the kernel refuses */
export async function serveCni(options: CniServerOptions): Promise<CniServer> {
  const { path, registry, logger } = options;
  const limits = options.limits ?? CNI_LIMITS;
  const calls = new CniCalls(options.handler, limits, observeCalls(registry, logger));
  const server = net.createServer((socket) => calls.accept(socket));
  // Those beyond the calls are told so; beyond that, no descriptor is spent on them.
  server.maxConnections = limits.mostCalls * 2;
  const onError = acceptErrors(path, (text) => logger.warn(text));
  await listenUnix(server, path, ROOT_ONLY, onError);
  return {
    close: async (graceMs) => {
      const closed = new Promise((resolve) => server.close(resolve));
      await calls.close(graceMs);
      await closed;
    },
  };
}

function observeCalls(registry: Registry, logger: Logger): (call: FinishedCall, seconds: number) => void {
  const record = recordCniCalls(registry);
  const warn = rateLimitedWarnings(logger, WARNING_INTERVAL_MS);
  return (call, seconds) => {
    const { command, code, error } = call;
    record({ command, code, seconds });
    if (error === undefined) return;
    const fields = { command, code, error: describeError(error) };
    const refused = error instanceof HoldfastError && error.code !== 'BUG' && error.code !== 'HOST_FAILURE';
    // A refusal is an answer, and the same pod is refused again and again; a mistake of ours is not.
    if (refused) warn(`CNI ${command ?? ''} ${fields.error}`, fields, 'CNI call refused');
    else logger.error({ ...fields, err: error }, 'CNI call failed');
  };
}

/** The calls of one server. */
class CniCalls {
  readonly #handler: CniHandler;
  readonly #limits: CniLimits;
  readonly #onFinished: (call: FinishedCall, seconds: number) => void;
  readonly #serving = new Set<Promise<void>>();
  readonly #sending = new Set<net.Socket>();
  /** How to end each of the handlers that have not returned, answered or not. */
  readonly #working = new Map<Promise<FinishedCall>, (reason: HoldfastError) => void>();
  #closing = false;

  constructor(handler: CniHandler, limits: CniLimits, onFinished: (call: FinishedCall, seconds: number) => void) {
    this.#handler = handler;
    this.#limits = limits;
    this.#onFinished = onFinished;
  }

  accept(socket: net.Socket): void {
    // `close` follows, and says all that matters.
    socket.on('error', () => {});
    const served = this.#serve(socket).finally(() => this.#serving.delete(served));
    this.#serving.add(served);
  }

  async close(graceMs: number): Promise<void> {
    this.#closing = true;
    for (const socket of this.#sending) socket.destroy();
    await within(graceMs, Promise.all(this.#serving));
    for (const abort of this.#working.values()) abort(abortReason('closing'));
    await Promise.all(this.#serving);
  }

  async #serve(socket: net.Socket): Promise<void> {
    const { mostCalls, sendMs } = this.#limits;
    if (this.#closing || this.#sending.size + this.#working.size >= mostCalls) {
      const error = this.#closing ? abortReason('closing') : tooMany(mostCalls);
      socket.resume();
      this.#finish(socket, refuseCall(NEWEST_VERSION, undefined, error), 0);
      return;
    }
    let call: RawCall | undefined;
    this.#sending.add(socket);
    try {
      call = await receiveCall(socket, sendMs);
    } catch (error) {
      this.#finish(socket, refuseCall(NEWEST_VERSION, undefined, error), 0);
      return;
    } finally {
      this.#sending.delete(socket);
    }
    // Nobody is there to be answered, and nothing was asked.
    if (call === undefined) return;
    const began = performance.now();
    const finished = await this.#work(socket, call);
    this.#finish(socket, finished, (performance.now() - began) / 1000);
  }

  /** Ends with the handler, or some time after its signal has aborted. */
  async #work(socket: net.Socket, call: RawCall): Promise<FinishedCall> {
    const { callMs, unwindMs } = this.#limits;
    const controller = new AbortController();
    const { signal } = controller;
    const onGone = (): void => controller.abort(abortReason('gone'));
    const deadline = setTimeout(() => controller.abort(abortReason('deadline', callMs / 1000)), callMs);
    if (!outlivesCaller(call)) {
      if (socket.destroyed) onGone();
      else socket.once('close', onGone);
    }
    let unwinding: NodeJS.Timeout | undefined;
    const overdue = new Promise<FinishedCall>((resolve) => {
      const wait = (): void => {
        unwinding = setTimeout(() => resolve(giveUpCall(call, signal)), unwindMs);
      };
      if (signal.aborted) wait();
      else signal.addEventListener('abort', wait, { once: true });
    });
    const work = answerCall(this.#handler, call, signal);
    this.#working.set(work, (reason) => controller.abort(reason));
    const settled = work.finally(() => this.#working.delete(work));
    try {
      return await Promise.race([settled, overdue]);
    } finally {
      clearTimeout(deadline);
      clearTimeout(unwinding);
      socket.off('close', onGone);
    }
  }

  #finish(socket: net.Socket, finished: FinishedCall, seconds: number): void {
    this.#onFinished(finished, seconds);
    if (socket.destroyed) return;
    // Whoever does not take its answer is left alone with it.
    const patience = setTimeout(() => socket.destroy(), this.#limits.sendMs);
    socket.once('close', () => clearTimeout(patience));
    // What the kernel has taken reaches the caller also after the end of this side.
    socket.end(encodeAnswer(finished.answer), () => socket.destroy());
  }
}

/** Resolves with the work, or after some milliseconds without it. */
async function within(ms: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([work, over]);
  clearTimeout(timer);
}
