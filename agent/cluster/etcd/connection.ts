// Calls to etcd through whichever of its members answers: each ends in bounded time, and what may have been carried out
// is never sent a second time unless that harms nobody.
import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from '@grpc/grpc-js';
import { describeError, HoldfastError } from '../../../lib/errors.ts';
import { type CallOptions, type ClientTls, isServiceError } from '../../../lib/grpc-client.ts';
import type { ResponseHeader } from '../../../proto/gen/wire/etcd/rpc_pb.ts';
import { Endpoint, METADATA, NotReached } from './endpoint.ts';
import { judgeFailure, type Verdict } from './plan-failover.ts';
import { TlsFiles } from './tls-files.ts';

export interface EtcdOptions {
  /** `https://HOST:PORT`, or `http://HOST:PORT` without TLS; one cluster's all of them. */
  readonly endpoints: readonly string[];
  /** Reads the certificates' files; called again every few seconds while etcd is used, so that new ones are taken. */
  readonly readTls?: () => Promise<ClientTls>;
  /** Milliseconds between two looks at the certificates. Default 5000. */
  readonly readTlsMs?: number;
  /** Told of certificates that cannot be used while the former ones are in force. */
  readonly onProblem: (error: HoldfastError) => void;
  /** Milliseconds for a call in all. Default 5000. */
  readonly timeoutMs?: number;
  /** Milliseconds for one member's answer, before another one is asked. Default 2000. */
  readonly attemptMs?: number;
  /** Milliseconds for a connection to one member. Default 1000. */
  readonly connectMs?: number;
}

/** A connected client and the options that every call must have. */
export type Send<Answer> = (client: Client, options: CallOptions) => Promise<Answer>;

export interface AskOptions {
  /** For messages: what is asked, such as `change keys`. */
  readonly what: string;
  /** Whether nothing is harmed when it is carried out twice. */
  readonly isRepeatable: boolean;
  readonly signal: AbortSignal;
}

/** Between two rounds over all members, milliseconds: an election takes about a second. */
const PAUSE_MS = 100;

/** With which grpc-js ends what it says of connections that were refused. */
const EMPTY_NOTE = /\.? *Resolution note: *$/;

const READ_TLS_MS = 5000;
const DEFAULTS = { timeoutMs: 5000, attemptMs: 2000, connectMs: 1000 } as const;

interface Failure {
  readonly error: unknown;
  readonly verdict: Verdict;
}

export class EtcdConnection {
  readonly #endpoints: readonly Endpoint[];
  readonly #times: { readonly timeoutMs: number; readonly attemptMs: number; readonly connectMs: number };
  readonly #tls: TlsFiles | undefined;
  /** The member that answered last; the one after it when it did not. */
  #preferred = 0;
  #clusterId: bigint | undefined;
  #isClosed = false;

  /** @throws HoldfastError INVALID_CONFIG for endpoints that are none, or that need certificates while there are none */
  constructor({ endpoints, readTls, readTlsMs = READ_TLS_MS, onProblem, ...times }: EtcdOptions) {
    this.#endpoints = endpoints.map((url) => new Endpoint(url));
    this.#times = { ...DEFAULTS, ...times };
    if (endpoints.length === 0) throw new HoldfastError('INVALID_CONFIG', 'etcd needs at least one endpoint');
    const isTls = this.#endpoints.some((endpoint) => endpoint.isTls);
    if (isTls && readTls === undefined) {
      throw new HoldfastError('INVALID_CONFIG', 'endpoints of etcd with https need certificates: none are configured');
    }
    if (readTls !== undefined && isTls) {
      this.#tls = new TlsFiles({
        read: readTls,
        intervalMs: readTlsMs,
        onChanged: (tls) => {
          for (const endpoint of this.#endpoints) if (endpoint.isTls) endpoint.useTls(tls);
        },
        onProblem,
      });
    }
  }

  /**
   * @throws HoldfastError UNAVAILABLE when nobody answers in time, or when it is not known whether it was carried out;
   * NOT_FOUND, INVALID_REQUEST, INVALID_CONFIG or UNSUPPORTED as etcd says; the signal's reason
   */
  async ask<Answer extends { readonly header?: ResponseHeader | undefined }>(
    send: Send<Answer>,
    { what, isRepeatable, signal }: AskOptions,
  ): Promise<Answer> {
    const { timeoutMs } = this.#times;
    const end = performance.now() + timeoutMs;
    const first = this.#preferred;
    let failure: Failure | undefined;
    for (let attempt = 0; ; attempt += 1) {
      signal.throwIfAborted();
      if (this.#isClosed) throw new HoldfastError('UNAVAILABLE', 'the agent is shutting down; try again');
      if (attempt > 0 && attempt % this.#endpoints.length === 0) await delay(PAUSE_MS, undefined, { signal });
      const leftMs = end - performance.now();
      if (failure !== undefined && leftMs <= 0) throw this.#gaveUp(what, isRepeatable, failure);
      const index = (first + attempt) % this.#endpoints.length;
      const outcome = await this.#attempt(index, send, Math.max(1, leftMs), isRepeatable, signal);
      if (!('verdict' in outcome)) {
        this.#preferred = index;
        return outcome.answer;
      }
      failure = outcome;
      // Others that are asked meanwhile may have found a better one already.
      if (failure.verdict.elsewhere && this.#preferred === index) {
        this.#preferred = (index + 1) % this.#endpoints.length;
      }
      const again = failure.verdict.elsewhere && (isRepeatable || !failure.verdict.maybeApplied);
      if (!again) throw this.#gaveUp(what, isRepeatable, failure);
    }
  }

  close(): void {
    this.#isClosed = true;
    for (const endpoint of this.#endpoints) endpoint.close();
  }

  async #attempt<Answer extends { readonly header?: ResponseHeader | undefined }>(
    index: number,
    send: Send<Answer>,
    leftMs: number,
    isRepeatable: boolean,
    signal: AbortSignal,
  ): Promise<{ readonly answer: Answer } | Failure> {
    const { attemptMs, connectMs } = this.#times;
    const endpoint = this.#endpoints[index] as Endpoint;
    const options = { timeoutMs: Math.min(attemptMs, leftMs), signal, metadata: METADATA };
    let isSent = false;
    try {
      await this.#tls?.refresh(Math.min(connectMs, leftMs), signal);
      const client = await endpoint.connect(Math.min(connectMs, leftMs), signal);
      if (!isRepeatable) this.#requireSameCluster(endpoint, await endpoint.clusterId(client, options));
      isSent = true;
      const answer = await send(client, options);
      this.#requireSameCluster(endpoint, endpoint.sawHeader(answer.header));
      return { answer };
    } catch (error) {
      signal.throwIfAborted();
      return { error, verdict: judge(error, isSent) };
    }
  }

  /** Two clusters that are taken for one would each give away the same. */
  #requireSameCluster(endpoint: Endpoint, clusterId: bigint | undefined): void {
    this.#clusterId ??= clusterId;
    if (clusterId === this.#clusterId) return;
    throw new HoldfastError(
      'INVALID_CONFIG',
      `${endpoint.url} belongs to another cluster of etcd than was used so far; ` +
        'name endpoints of one cluster only, and restart the agent after etcd was restored from a backup',
    );
  }

  #gaveUp(what: string, isRepeatable: boolean, { error, verdict }: Failure): HoldfastError {
    if (error instanceof HoldfastError) return error;
    const urls = this.#endpoints.map(({ url }) => url).join(', ');
    const detail = isServiceError(error) ? error.details.replace(EMPTY_NOTE, '') : describeError(error);
    const { code, maybeApplied, elsewhere, advice } = verdict;
    const outcome = !isRepeatable && elsewhere && maybeApplied ? '; it is not known whether that was done' : '';
    const said = elsewhere ? 'does not answer' : 'refused';
    const why = `etcd at ${urls} ${said} (${what}): ${detail}${outcome}`;
    return new HoldfastError(code, advice === undefined ? why : `${why}; ${advice}`, { cause: error });
  }
}

/** @param isSent - whether the call itself may have reached the member, and not only what comes before it */
function judge(error: unknown, isSent: boolean): Verdict {
  if (error instanceof NotReached) return { maybeApplied: false, elsewhere: true, code: 'UNAVAILABLE' };
  if (error instanceof HoldfastError) {
    return { maybeApplied: isSent, elsewhere: error.code === 'UNAVAILABLE', code: error.code };
  }
  if (!isServiceError(error)) throw error;
  const verdict = judgeFailure(error);
  return isSent ? verdict : { ...verdict, maybeApplied: false };
}
