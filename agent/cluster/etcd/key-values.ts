// Texts under keys in etcd, read at one moment and changed by compare-and-swap. It knows nothing of what they mean; keys are
// below a prefix that callers do not see.
import { type Client, status } from '@grpc/grpc-js';
import { HoldfastError } from '../../../lib/errors.ts';
import { type CallOptions, callUnary, isServiceError } from '../../../lib/grpc-client.ts';
import {
  KV,
  type RangeRequest,
  type RangeResponse,
  type TxnRequest,
  type TxnResponse,
} from '../../../proto/gen/wire/etcd/rpc_pb.ts';
import type { EtcdConnection } from './connection.ts';
import { type EtcdChange, type EtcdRecord, KeySpace } from './plan-requests.ts';

/** etcd's default for what one transaction may have (`--max-txn-ops`). */
export const MAX_READ_KEYS = 128;
/** So many values of 64 KiB are below what one answer of gRPC may have (16 MiB); more are read in pages. */
const PAGE_KEYS = 200;

export interface RecordsOptions {
  readonly limit: number;
  /** Only keys behind this one. */
  readonly after?: string;
}

const range = (request: RangeRequest) => (client: Client, options: CallOptions) =>
  callUnary(client, KV.method.range, request, options);
const txn = (request: TxnRequest) => (client: Client, options: CallOptions) =>
  callUnary(client, KV.method.txn, request, options);

export class EtcdKeyValues {
  readonly #connection: EtcdConnection;
  readonly #keys: KeySpace;

  /**
   * @param prefix - of all keys, such as `/holdfast/`
   * @throws HoldfastError INVALID_CONFIG when it does not end with a slash
   */
  constructor(connection: EtcdConnection, prefix: string) {
    this.#connection = connection;
    this.#keys = new KeySpace(prefix);
  }

  /** At one revision; keys that are not there are absent. @throws as {@link EtcdConnection.ask} */
  async read(keys: readonly string[], signal: AbortSignal): Promise<ReadonlyMap<string, EtcdRecord>> {
    const ask = { what: 'read keys', isRepeatable: true, signal };
    const [only] = keys;
    if (only === undefined) return new Map();
    const answers =
      keys.length === 1
        ? [await this.#connection.ask(range(this.#keys.one(only)), ask)]
        : rangesOf(await this.#connection.ask(txn(this.#keys.several(keys)), ask));
    const records = answers.flatMap(({ kvs }) => kvs).map((stored) => this.#keys.record(stored));
    return new Map(records.map((record) => [record.key, record]));
  }

  /**
   * What is below the folder, at one revision, in the order of the keys' bytes. One call for each 200 keys.
   * @throws as {@link EtcdConnection.ask}
   */
  async list(folder: string, options: RecordsOptions, signal: AbortSignal): Promise<readonly EtcdRecord[]> {
    const records: EtcdRecord[] = [];
    let revision = 0n;
    let { after } = options;
    for (;;) {
      const limit = Math.min(PAGE_KEYS, options.limit - records.length);
      const request = this.#keys.below(folder, { limit, after, revision });
      if (request === undefined) return records;
      const ask = { what: 'list keys', isRepeatable: true, signal };
      const { kvs, more, header } = await this.#connection.ask(range(request), ask);
      records.push(...kvs.map((stored) => this.#keys.record(stored)));
      // Of the first page; later answers say the cluster's revision of that later moment.
      if (revision === 0n) revision = header?.revision ?? 0n;
      after = records.at(-1)?.key;
      if (!more || records.length >= options.limit) return records;
    }
  }

  /**
   * All of it or nothing; carried out at most once. Durable on a majority of the members when it is `done`.
   * @returns `not held` when what the change must be held by is not there; else `conflict` when something is not as expected
   * @throws as {@link EtcdConnection.ask}
   */
  async commit(change: EtcdChange, signal: AbortSignal): Promise<'done' | 'conflict' | 'not held'> {
    const ask = { what: 'change keys', isRepeatable: false, signal };
    const answer = await this.#connection.ask(txn(this.#keys.change(change)), ask);
    if (answer.succeeded) return 'done';
    if (change.held === undefined) return 'conflict';
    const [holder] = rangesOf(answer).flatMap(({ kvs }) => kvs);
    const isHeld = holder !== undefined && this.#keys.record(holder).value === change.held.value;
    return isHeld ? 'conflict' : 'not held';
  }
}

function rangesOf({ responses }: TxnResponse): readonly RangeResponse[] {
  return responses.map(({ response }) => {
    if (response.case === 'responseRange') return response.value;
    throw new HoldfastError('HOST_FAILURE', 'etcd answered something else than it was asked');
  });
}

/** Narrows to etcd's answer that there is no such lease. */
export function isNoSuchLease(error: unknown): boolean {
  return error instanceof HoldfastError && isServiceError(error.cause, status.NOT_FOUND);
}
