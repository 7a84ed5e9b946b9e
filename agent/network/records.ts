// What is on record about addresses, and under which keys. Everything that one rule reads or changes together fits into a
// few small records, so that no change waits for a change of another app, host or block.
import { z } from 'zod';
import type { Address } from '../model/address.ts';
import type { PodReference } from '../model/pod.ts';
import type { AttachmentId } from './cni/request.ts';
import { type StoreKey, storeKey } from './lease-store.ts';

const address = z.custom<Address>((value) => typeof value === 'string');
/** Milliseconds since the epoch. */
const time = z.number();

/** A pod as its name tells: a StatefulSet's ordinal has the same in every life. */
const podSchema: z.ZodType<PodReference> = z.object({ namespace: z.string(), name: z.string() });
/** An app is its namespace's own. */
const appSchema = z.object({ namespace: z.string(), name: z.string() });

/** Whose the address is, and what becomes of it when the sandbox goes. */
const ownerSchema = z.object({
  /** Absent: the runtime did not say who the sandbox belongs to. */
  pod: podSchema.optional(),
  uid: z.string().optional(),
  app: appSchema.optional(),
  ip: z.enum(['none', 'keep', 'app']),
  /** With `app`: given back before the containers stop, when the platform deletes the pod. */
  early: z.literal(true).optional(),
});

const addressSchema = z.object({
  /** Counts how often it was granted: a late release of an earlier grant does not match. */
  generation: z.int(),
  state: z.discriminatedUnion('kind', [
    z.object({
      kind: z.literal('held'),
      host: z.string(),
      network: z.string(),
      containerId: z.string(),
      ifname: z.string(),
      owner: ownerSchema,
      since: time,
    }),
    /** For the pod of that name, which will come back. */
    z.object({
      kind: z.literal('kept'),
      host: z.string(),
      network: z.string(),
      ifname: z.string(),
      pod: podSchema,
      owner: ownerSchema,
      since: time,
      until: time,
      /** Given back before the host had spoken with it, or by another host: others may still, or be looked for. */
      isMoved: z.literal(true).optional(),
    }),
    /** In the reserve of the app. */
    z.object({ kind: z.literal('reserved'), host: z.string(), app: appSchema, since: time, until: time }),
    /** Somebody outside uses it. */
    z.object({ kind: z.literal('quarantined'), host: z.string(), why: z.string(), since: time, until: time }),
  ]),
});

export const attachmentSchema = z.object({
  pool: z.string(),
  addresses: z.array(z.object({ address, generation: z.int() })),
  owner: ownerSchema,
  /** `ipam`: the interface is another plugin's. */
  mode: z.enum(['bridge', 'routed', 'ipam']),
  /** Of the sandbox's network namespace, as ADD was given it. */
  netns: z.string(),
  since: time,
});

const keptSchema = z.object({ pool: z.string(), addresses: z.array(address) });

const reserveSchema = z.object({
  /** The oldest first; the addresses of one entry were one pod's and stay together. */
  entries: z.array(z.object({ addresses: z.array(address), host: z.string(), since: time, until: time })),
});

const blockSchema = z.object({
  /** The places that are not free, as a number with a bit for each, in hexadecimal digits. */
  taken: z.string().regex(/^[0-9a-f]+$/),
  /** Places that were given back, and until when no other app gets them. */
  cooling: z.record(z.string(), time),
});

const subnetSchema = z.object({
  /** So many blocks have been begun; those behind them are free as a whole. */
  begun: z.int(),
});

const nothingSchema = z.object({});

/** There as long as the host has its lease; agent/cluster/etcd writes it. */
const hostSchema = z.object({ identity: z.string(), machine: z.string() });

export type AppKey = z.output<typeof appSchema>;
export type Owner = z.output<typeof ownerSchema>;
export type AddressRecord = z.output<typeof addressSchema>;
export type AttachmentRecord = z.output<typeof attachmentSchema>;
export type KeptRecord = z.output<typeof keptSchema>;
export type ReserveRecord = z.output<typeof reserveSchema>;
export type BlockRecord = z.output<typeof blockSchema>;

/** A key, and the shape of what is under it. */
export interface RecordKey<Value> {
  readonly key: StoreKey;
  readonly schema: z.ZodType<Value>;
}

const keyOf = <Value>(
  schema: z.ZodType<Value>,
  ...parts: readonly [string, string, ...string[]]
): RecordKey<Value> => ({
  key: storeKey(...parts),
  schema,
});

/** Numbers in keys are of one length, so that the order of the texts is theirs. */
const digits = (value: bigint | number, length: number): string => value.toString(16).padStart(length, '0');

export const FOLDERS = {
  addresses: 'address',
  attachments: (host: string): string => storeKey('attachment', host),
  attachmentsOf: (host: string, containerId: string): string => storeKey('attachment', host, containerId),
  reserves: 'reserve',
  open: (pool: string, subnet: string): string => storeKey('open', pool, subnet),
  expiry: (host: string): string => storeKey('expiry', host),
} as const;

export const addressKey = (pool: string, name: Address): RecordKey<AddressRecord> =>
  keyOf(addressSchema, FOLDERS.addresses, pool, name);

/** Nothing is there for a host whose lease is over. */
export const hostKey = (host: string): RecordKey<z.output<typeof hostSchema>> => keyOf(hostSchema, 'hosts', host);

/** Below the host's folder: only the host that made it takes it apart. */
export const attachmentKey = (
  host: string,
  { network, containerId, ifname }: AttachmentId,
): RecordKey<AttachmentRecord> => keyOf(attachmentSchema, 'attachment', host, containerId, network, ifname);

/** What a pod with `ip: keep` has in a network, held or waiting. */
export const keptKey = ({ namespace, name }: PodReference, network: string, ifname: string): RecordKey<KeptRecord> =>
  keyOf(keptSchema, 'kept', namespace, name, network, ifname);

export const reserveKey = ({ namespace, name }: AppKey, pool: string): RecordKey<ReserveRecord> =>
  keyOf(reserveSchema, FOLDERS.reserves, namespace, name, pool);

export const subnetKey = (pool: string, subnet: string): RecordKey<{ begun: number }> =>
  keyOf(subnetSchema, 'subnet', pool, subnet);

export const blockKey = (pool: string, subnet: string, block: bigint): RecordKey<BlockRecord> =>
  keyOf(blockSchema, 'block', pool, subnet, digits(block, 32));

/** Is there as long as something in the block is free, so that a free place is found without reading full blocks. */
export const openKey = (pool: string, subnet: string, block: bigint): RecordKey<object> =>
  keyOf(nothingSchema, 'open', pool, subnet, digits(block, 32));

/** Is there for what ends by itself, in the order of the ends; the host that gave it back looks after it. */
export const expiryKey = (host: string, until: number, pool: string, name: Address): RecordKey<object> =>
  keyOf(nothingSchema, 'expiry', host, digits(Math.max(0, Math.floor(until)), 16), pool, name);
