// What this host's lease needs of etcd, as calls.
import { create } from '@bufbuild/protobuf';
import { HoldfastError } from '../../../lib/errors.ts';
import { callStreamOnce, callUnary } from '../../../lib/grpc-client.ts';
import {
  KV,
  Lease,
  LeaseGrantRequestSchema,
  LeaseKeepAliveRequestSchema,
  LeaseRevokeRequestSchema,
} from '../../../proto/gen/wire/etcd/rpc_pb.ts';
import type { EtcdConnection } from './connection.ts';
import { type EtcdKeyValues, isNoSuchLease } from './key-values.ts';
import type { Confirmation, RenewalAnswer } from './plan-lease.ts';
import { ABSENT_REVISION, type EtcdRecord, KeySpace } from './plan-requests.ts';

export interface HostClaim {
  readonly key: string;
  readonly value: string;
  readonly lease: bigint;
  /** Of the key as it was read; undefined when it was not there. */
  readonly revision: bigint | undefined;
}

/** All of them throw as {@link EtcdConnection.ask}. */
export class LeaseApi {
  readonly #connection: EtcdConnection;
  readonly #keyValues: EtcdKeyValues;
  readonly #keys: KeySpace;

  /** @param prefix - as for the key-values */
  constructor(connection: EtcdConnection, keyValues: EtcdKeyValues, prefix: string) {
    this.#connection = connection;
    this.#keyValues = keyValues;
    this.#keys = new KeySpace(prefix);
  }

  async read(key: string, signal: AbortSignal): Promise<EtcdRecord | undefined> {
    return (await this.#keyValues.read([key], signal)).get(key);
  }

  /** A linearizable read: a majority of the members has confirmed the leader of that term after this was called. */
  async readWithTerm(key: string, signal: AbortSignal): Promise<Confirmation> {
    const request = this.#keys.one(key);
    const { header, kvs } = await this.#connection.ask(
      (client, options) => callUnary(client, KV.method.range, request, options),
      { what: "confirm this host's lease", isRepeatable: true, signal },
    );
    const [stored] = kvs;
    return {
      value: stored === undefined ? undefined : this.#keys.record(stored).value,
      term: header?.raftTerm ?? 0n,
    };
  }

  /** A lease that is granted twice by a repetition ends by itself. @param ttlMs - milliseconds, whole seconds */
  async grant(ttlMs: number, signal: AbortSignal): Promise<{ readonly lease: bigint; readonly ttlMs: number }> {
    const request = create(LeaseGrantRequestSchema, { TTL: BigInt(ttlMs / 1000) });
    const { ID, TTL, error } = await this.#connection.ask(
      (client, options) => callUnary(client, Lease.method.leaseGrant, request, options),
      { what: 'grant this host a lease', isRepeatable: true, signal },
    );
    if (error !== '' || ID === 0n) throw new HoldfastError('UNAVAILABLE', `etcd granted no lease: ${error}`);
    return { lease: ID, ttlMs: Number(TTL) * 1000 };
  }

  /** Binds the host's key to the lease. @returns false when the key is not as it was read */
  async claim({ key, value, lease, revision }: HostClaim, signal: AbortSignal): Promise<boolean> {
    const expect = new Map([[key, revision ?? ABSENT_REVISION]]);
    return (await this.#keyValues.commit({ expect, write: new Map([[key, value]]), lease }, signal)) === 'done';
  }

  /** The term is that of the member that was asked, before it asked its leader. */
  async keepAlive(lease: bigint, signal: AbortSignal): Promise<RenewalAnswer> {
    const request = create(LeaseKeepAliveRequestSchema, { ID: lease });
    const { TTL, header } = await this.#connection.ask(
      (client, options) => callStreamOnce(client, Lease.method.leaseKeepAlive, request, options),
      { what: "renew this host's lease", isRepeatable: true, signal },
    );
    return { ttlMs: Number(TTL) * 1000, term: header?.raftTerm ?? 0n };
  }

  /** Others see at once that the lease is over. */
  async revoke(lease: bigint, signal: AbortSignal): Promise<void> {
    const request = create(LeaseRevokeRequestSchema, { ID: lease });
    try {
      await this.#connection.ask((client, options) => callUnary(client, Lease.method.leaseRevoke, request, options), {
        what: "give up this host's lease",
        isRepeatable: true,
        signal,
      });
    } catch (error) {
      if (!isNoSuchLease(error)) throw error;
    }
  }
}
