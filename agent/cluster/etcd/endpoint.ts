// One address of etcd: its connection, which is made again when the certificates have changed, and whose cluster it is.
import { create } from '@bufbuild/protobuf';
import { type Client, connectivityState } from '@grpc/grpc-js';
import { HoldfastError } from '../../../lib/errors.ts';
import { type CallOptions, type ClientTls, callUnary, connectTcp } from '../../../lib/grpc-client.ts';
import { unlessAborted } from '../../../lib/keyed-mutex.ts';
import { KV, RangeRequestSchema, type ResponseHeader } from '../../../proto/gen/wire/etcd/rpc_pb.ts';

/** A member that comes back is used again soon. */
const PAUSES = { firstMs: 100, mostMs: 2000 } as const;
/** etcd is to refuse what it could not carry out for want of a leader, instead of letting it wait. */
export const METADATA = { hasleader: 'true' } as const;

/**
 * @param text - `https://HOST:PORT` or `http://HOST:PORT`
 * @throws HoldfastError INVALID_CONFIG
 */
export function parseEndpoint(text: string): { readonly address: string; readonly isTls: boolean } {
  const parts = /^(https?):\/\/(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):(\d{1,5})\/?$/.exec(text);
  const [, scheme, host, port] = parts ?? [];
  if (scheme === undefined || Number(port) > 65_535 || Number(port) === 0) {
    throw new HoldfastError(
      'INVALID_CONFIG',
      `${JSON.stringify(text)} cannot be an endpoint of etcd: write https://HOST:PORT, or http://HOST:PORT without TLS`,
    );
  }
  return { address: `${host}:${port}`, isTls: scheme === 'https' };
}

/** Thrown when it is certain that nothing was sent to this endpoint. */
export class NotReached extends Error {}

export class Endpoint {
  readonly url: string;
  readonly #address: string;
  readonly isTls: boolean;
  #client: Client | undefined;
  #tls: ClientTls | undefined;
  #clusterId: bigint | undefined;

  constructor(url: string) {
    this.url = url;
    ({ address: this.#address, isTls: this.isTls } = parseEndpoint(url));
  }

  /** New calls use these certificates; those that are under way end on the connection that they have. */
  useTls(tls: ClientTls): void {
    this.#tls = tls;
    this.close();
  }

  /** Calls that are under way end well; others are not begun. It can be used again. */
  close(): void {
    this.#client?.close();
    this.#client = undefined;
  }

  /**
   * The connection, when it stands or when it is known why it does not (a call then tells).
   * @param timeoutMs - milliseconds that connecting may take
   * @throws NotReached
   */
  async connect(timeoutMs: number, signal: AbortSignal): Promise<Client> {
    if (this.isTls && this.#tls === undefined) {
      throw new HoldfastError('INVALID_CONFIG', `${this.url} needs certificates, and none are configured`);
    }
    this.#client ??= this.#open();
    const client = this.#client;
    const channel = client.getChannel();
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      signal.throwIfAborted();
      const state = channel.getConnectivityState(true);
      if (state === connectivityState.READY || state === connectivityState.TRANSIENT_FAILURE) return client;
      if (state === connectivityState.SHUTDOWN) throw new NotReached(`the connection to ${this.url} was closed`);
      const changed = new Promise<void>((resolve, reject) => {
        channel.watchConnectivityState(state, deadline, (error) => (error === undefined ? resolve() : reject(error)));
      });
      try {
        await unlessAborted(changed, signal);
      } catch (cause) {
        signal.throwIfAborted();
        throw new NotReached(`${this.url} took no connection within ${timeoutMs} ms`, { cause });
      }
    }
  }

  /**
   * Whose it is, asked once: a change must not go to a cluster that nothing was read from.
   * @throws ServiceError, or the signal's reason; nothing that matters was sent then
   */
  async clusterId(client: Client, options: CallOptions): Promise<bigint | undefined> {
    if (this.#clusterId !== undefined) return this.#clusterId;
    const request = create(RangeRequestSchema, { key: new Uint8Array(1), serializable: true, countOnly: true });
    const { header } = await callUnary(client, KV.method.range, request, options);
    this.sawHeader(header);
    return this.#clusterId;
  }

  /** @returns the cluster's id */
  sawHeader(header: ResponseHeader | undefined): bigint | undefined {
    this.#clusterId = header?.clusterId;
    return this.#clusterId;
  }

  #open(): Client {
    try {
      return connectTcp(this.#address, this.isTls ? this.#tls : undefined, PAUSES);
    } catch (cause) {
      throw new HoldfastError('INVALID_CONFIG', `the certificates for etcd cannot be used`, { cause });
    }
  }
}
