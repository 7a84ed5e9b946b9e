// etcd's requests for what is asked of keys below a prefix, and its records as ours. Pure.
import { create } from '@bufbuild/protobuf';
import { HoldfastError } from '../../../lib/errors.ts';
import type { KeyValue } from '../../../proto/gen/wire/etcd/kv_pb.ts';
import {
  type Compare,
  Compare_CompareResult,
  Compare_CompareTarget,
  CompareSchema,
  DeleteRangeRequestSchema,
  PutRequestSchema,
  type RangeRequest,
  RangeRequestSchema,
  type RequestOp,
  RequestOpSchema,
  type TxnRequest,
  TxnRequestSchema,
} from '../../../proto/gen/wire/etcd/rpc_pb.ts';

export interface EtcdRecord {
  readonly key: string;
  readonly value: string;
  /** Of the last change of the key, among all changes of the cluster: no two contents of a key have the same. */
  readonly revision: bigint;
}

/** The revision of a key that is not there. */
export const ABSENT_REVISION = 0n;

export interface EtcdChange {
  readonly expect: ReadonlyMap<string, bigint>;
  /** undefined removes the key. */
  readonly write: ReadonlyMap<string, string | undefined>;
  /** A key that must have this value, or nothing is changed. */
  readonly held?: { readonly key: string; readonly value: string };
  /** What is written is removed with this lease. */
  readonly lease?: bigint;
}

export interface Below {
  readonly limit: number;
  readonly after: string | undefined;
  /** 0: now. */
  readonly revision: bigint;
}

const { EQUAL } = Compare_CompareResult;

/** As etcd orders keys. */
function laterOf(one: Buffer, other: Buffer): Buffer {
  return Buffer.compare(one, other) < 0 ? other : one;
}

export class KeySpace {
  readonly #prefix: string;

  /** @throws HoldfastError INVALID_CONFIG */
  constructor(prefix: string) {
    if (!/^[\x21-\x7e]{0,255}\/$/.test(prefix)) {
      throw new HoldfastError(
        'INVALID_CONFIG',
        `${JSON.stringify(prefix)} cannot be the prefix of keys in etcd: it must end with a slash, such as "/holdfast/"`,
      );
    }
    this.#prefix = prefix;
  }

  one(key: string): RangeRequest {
    return create(RangeRequestSchema, { key: this.#bytes(key) });
  }

  several(keys: readonly string[]): TxnRequest {
    return create(TxnRequestSchema, { success: keys.map((key) => this.#readOp(key)) });
  }

  /** @returns undefined when nothing below the folder can be behind that key */
  below(folder: string, { limit, after, revision }: Below): RangeRequest | undefined {
    const start = this.#bytes(`${folder}/`);
    // The byte behind the slash: what comes after all that begins with the slash.
    const rangeEnd = this.#bytes(`${folder}0`);
    const key = after === undefined ? start : laterOf(start, Buffer.concat([this.#bytes(after), Buffer.alloc(1)]));
    if (Buffer.compare(key, rangeEnd) >= 0) return undefined;
    return create(RangeRequestSchema, { key, rangeEnd, limit: BigInt(limit), revision });
  }

  change({ expect, write, held, lease = 0n }: EtcdChange): TxnRequest {
    const compare = [...expect].map(([key, revision]) => this.#expectRevision(key, revision));
    if (held !== undefined) compare.push(this.#expectValue(held.key, held.value));
    const success = [...write].map(([key, value]) => this.#writeOp(key, value, lease));
    // etcd takes a transaction without any operation for one that may be answered from what a member knows by itself.
    const [first] = expect.keys();
    if (success.length === 0 && first !== undefined) success.push(this.#readOp(first));
    return create(TxnRequestSchema, {
      compare,
      success,
      // Tells a host that has lost its lease from one that was overtaken.
      failure: held === undefined ? [] : [this.#readOp(held.key)],
    });
  }

  record({ key, value, modRevision }: KeyValue): EtcdRecord {
    return {
      key: Buffer.from(key).toString().slice(this.#prefix.length),
      value: Buffer.from(value).toString(),
      revision: modRevision,
    };
  }

  #bytes(key: string): Buffer<ArrayBuffer> {
    return Buffer.from(`${this.#prefix}${key}`);
  }

  #readOp(key: string): RequestOp {
    return create(RequestOpSchema, { request: { case: 'requestRange', value: this.one(key) } });
  }

  #writeOp(key: string, value: string | undefined, lease: bigint): RequestOp {
    const name = this.#bytes(key);
    return create(RequestOpSchema, {
      request:
        value === undefined
          ? { case: 'requestDeleteRange', value: create(DeleteRangeRequestSchema, { key: name }) }
          : { case: 'requestPut', value: create(PutRequestSchema, { key: name, value: Buffer.from(value), lease }) },
    });
  }

  /** A key that is not there has the revision 0 when it is compared. */
  #expectRevision(key: string, revision: bigint): Compare {
    return create(CompareSchema, {
      result: EQUAL,
      target: Compare_CompareTarget.MOD,
      key: this.#bytes(key),
      targetUnion: { case: 'modRevision', value: revision },
    });
  }

  #expectValue(key: string, value: string): Compare {
    return create(CompareSchema, {
      result: EQUAL,
      target: Compare_CompareTarget.VALUE,
      key: this.#bytes(key),
      targetUnion: { case: 'value', value: Buffer.from(value) },
    });
  }
}
