// What this host's sandboxes have, as it is on record.
import { type Address, parseAddress } from '../model/address.ts';
import type { Grant } from './acquire.ts';
import type { AttachmentId } from './cni/request.ts';
import type { LeaseContext } from './lease-context.ts';
import { keyParts } from './lease-store.ts';
import { listAll } from './list-all.ts';
import { type Pool, subnetOf } from './pool.ts';
import { type AttachmentRecord, addressKey, attachmentKey, FOLDERS } from './records.ts';
import { isHeldBy } from './reuse.ts';
import { parseRecord } from './transaction.ts';

export interface ListedAttachment {
  readonly id: AttachmentId;
  readonly record: AttachmentRecord;
}

/** @param containerId - only this sandbox's; absent: all of the host's */
export async function listAttachments(
  { store, host }: LeaseContext,
  signal: AbortSignal,
  containerId?: string,
): Promise<readonly ListedAttachment[]> {
  const folder = containerId === undefined ? FOLDERS.attachments(host) : FOLDERS.attachmentsOf(host, containerId);
  const found: ListedAttachment[] = [];
  for await (const { key, value } of listAll(store, folder, signal)) {
    const [, , sandbox, network, ifname] = keyParts(key);
    if (sandbox === undefined || network === undefined || ifname === undefined) continue;
    const id = { network, containerId: sandbox, ifname };
    found.push({ id, record: parseRecord(key, attachmentKey(host, id).schema, value) });
  }
  return found;
}

export interface FoundAttachment {
  readonly mode: AttachmentRecord['mode'];
  /** Those of its addresses that are still its own, and that the configuration still has. */
  readonly grants: readonly Grant[];
  readonly pool: Pool;
}

export async function findAttachment(
  context: LeaseContext,
  id: AttachmentId,
  signal: AbortSignal,
): Promise<FoundAttachment | undefined> {
  const { store, host, pools } = context;
  const { key, schema } = attachmentKey(host, id);
  const entry = (await store.read([key], signal)).get(key);
  if (entry === undefined) return undefined;
  const record = parseRecord(key, schema, entry.value);
  const { mode, pool: name } = record;
  const pool = pools.get(name) ?? { name, subnets: [], routes: [] };
  const grants = (await stillHeld(context, id, record, signal)).flatMap((address): Grant[] => {
    const subnet = subnetOf(pool, parseAddress(address));
    return subnet === undefined ? [] : [{ address, subnet }];
  });
  return { mode, grants, pool };
}

/** Whether the sandbox still has all of its addresses, as it is on record. */
export async function holdsAll(
  context: LeaseContext,
  id: AttachmentId,
  record: AttachmentRecord,
  signal: AbortSignal,
): Promise<boolean> {
  return (await stillHeld(context, id, record, signal)).length === record.addresses.length;
}

async function stillHeld(
  { store, host }: LeaseContext,
  id: AttachmentId,
  { pool, addresses }: AttachmentRecord,
  signal: AbortSignal,
): Promise<readonly Address[]> {
  const records = await store.read(
    addresses.map(({ address }) => addressKey(pool, address).key),
    signal,
  );
  return addresses.flatMap(({ address, generation }) => {
    const { key, schema } = addressKey(pool, address);
    const text = records.get(key)?.value;
    const record = text === undefined ? undefined : parseRecord(key, schema, text);
    return isHeldBy(record, host, id, generation) ? [address] : [];
  });
}
