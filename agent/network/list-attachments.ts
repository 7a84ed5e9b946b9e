// What this host's sandboxes have, as it is on record.
import { parseAddress } from '../model/address.ts';
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
  { store, host, pools }: LeaseContext,
  id: AttachmentId,
  signal: AbortSignal,
): Promise<FoundAttachment | undefined> {
  const { key, schema } = attachmentKey(host, id);
  const entry = (await store.read([key], signal)).get(key);
  if (entry === undefined) return undefined;
  const { mode, pool: name, addresses } = parseRecord(key, schema, entry.value);
  const pool = pools.get(name) ?? { name, subnets: [], routes: [] };
  const records = await store.read(
    addresses.map(({ address }) => addressKey(name, address).key),
    signal,
  );
  const grants = addresses.flatMap(({ address, generation }): Grant[] => {
    const own = addressKey(name, address);
    const text = records.get(own.key)?.value;
    const record = text === undefined ? undefined : parseRecord(own.key, own.schema, text);
    if (!isHeldBy(record, host, id, generation)) return [];
    const subnet = subnetOf(pool, parseAddress(address));
    return subnet === undefined ? [] : [{ address, subnet }];
  });
  return { mode, grants, pool };
}

/** Whether the sandbox still has all of its addresses, as it is on record. */
export async function holdsAll(
  { store, host }: LeaseContext,
  id: AttachmentId,
  { pool, addresses }: AttachmentRecord,
  signal: AbortSignal,
): Promise<boolean> {
  const keys = addresses.map(({ address }) => addressKey(pool, address));
  const records = await store.read(
    keys.map(({ key }) => key),
    signal,
  );
  return addresses.every(({ address, generation }) => {
    const { key, schema } = addressKey(pool, address);
    const text = records.get(key)?.value;
    return isHeldBy(text === undefined ? undefined : parseRecord(key, schema, text), host, id, generation);
  });
}
