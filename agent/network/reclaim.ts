// Puts back on record what a sandbox of this host has and what the store has lost: its data are gone, or are older than that.
import { formatSubnet, parseAddress } from '../model/address.ts';
import { type Handover, type LeaseContext, whose } from './lease-context.ts';
import type { LocalAttachment } from './local-attachments.ts';
import { isTaken, withTaken } from './plan-block.ts';
import { placeOf, subnetOf } from './pool.ts';
import { type AttachmentRecord, addressKey, attachmentKey, blockKey } from './records.ts';
import { isHeldBy, noteKept } from './reuse.ts';
import { inTurn, type Transaction } from './transaction.ts';

/**
 * @returns false when one of the addresses is somebody's by now, or waits for somebody, or is in no pool any more: nothing
 *   has changed then
 * @throws HoldfastError UNAVAILABLE when the store cannot be asked
 */
export async function reclaim(
  context: LeaseContext,
  { id, record }: Pick<LocalAttachment, 'id' | 'record'>,
  signal: AbortSignal,
): Promise<boolean> {
  const handovers = await inTurn(
    context,
    async (transaction) => {
      const told: Handover[] = [];
      for (const { address, generation } of record.addresses) {
        const found = await reclaimOne(context, transaction, { id, record }, { address, generation }, signal);
        if (found === undefined) {
          transaction.discard();
          return undefined;
        }
        told.push(...found);
      }
      transaction.put(attachmentKey(context.host, id), record);
      noteKept(transaction, id, record);
      return told;
    },
    signal,
  );
  for (const handover of handovers ?? []) context.onHandover(handover);
  return handovers !== undefined;
}

async function reclaimOne(
  context: LeaseContext,
  transaction: Transaction,
  { id, record }: Pick<LocalAttachment, 'id' | 'record'>,
  { address, generation }: AttachmentRecord['addresses'][number],
  signal: AbortSignal,
): Promise<readonly Handover[] | undefined> {
  const { pool: name, owner, since } = record;
  const pool = context.pools.get(name);
  const parsed = parseAddress(address);
  const subnet = pool && subnetOf(pool, parsed);
  if (subnet === undefined) return undefined;
  const { block, offset } = placeOf(subnet, parsed.value);
  const own = addressKey(name, address);
  const place = blockKey(name, formatSubnet(subnet.subnet), block);
  await transaction.load([own, place], signal);
  const there = transaction.get(own);
  if (isHeldBy(there, context.host, id, generation)) return [];
  if (there !== undefined) return undefined;
  transaction.put(own, { generation, state: { kind: 'held', host: context.host, ...id, owner, since } });
  const taken = transaction.get(place);
  if (!isTaken(taken, offset)) transaction.put(place, withTaken(taken, offset, context.now()));
  return [
    {
      address,
      pool: name,
      event: 'granted',
      detail: 'its sandbox has it, and the store had lost it',
      containerId: id.containerId,
      ...whose(owner),
    },
  ];
}
