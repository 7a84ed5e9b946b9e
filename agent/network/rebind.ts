// Tells the store what a pod's new sandbox took over from an earlier one while the store could not be asked.
import type { AttachmentId } from './cni/request.ts';
import { giveBack } from './free-places.ts';
import { type Handover, type LeaseContext, whose } from './lease-context.ts';
import type { LocalAttachment } from './local-attachments.ts';
import { type AttachmentRecord, addressKey, attachmentKey } from './records.ts';
import { isHeldBy, isSameAttachment, noteKept } from './reuse.ts';
import { inTurn, type Transaction } from './transaction.ts';

/**
 * Safe to be done again when it is not known whether it was done.
 * @returns what is on record now; undefined when not all of the addresses are this host's any more: nothing has changed then
 * @throws HoldfastError UNAVAILABLE when the store cannot be asked
 */
export async function rebind(
  context: LeaseContext,
  { id, record, from = [] }: LocalAttachment,
  signal: AbortSignal,
): Promise<AttachmentRecord | undefined> {
  const { pool, owner } = record;
  const done = await inTurn(
    context,
    async (transaction) => {
      const own = attachmentKey(context.host, id);
      const addresses = record.addresses.map(({ address }) => ({ address, key: addressKey(pool, address) }));
      await transaction.load([own, ...addresses.map(({ key }) => key)], signal);
      const handovers: Handover[] = [];
      const rebound: AttachmentRecord['addresses'] = [];
      for (const { address, key } of addresses) {
        const there = transaction.get(key);
        const state = there?.state;
        if (there === undefined || state?.kind !== 'held' || state.host !== context.host) return undefined;
        if (isSameAttachment(state, id)) {
          rebound.push({ address, generation: there.generation });
          continue;
        }
        if (!from.some((each) => isSameAttachment(state, each))) return undefined;
        const generation = there.generation + 1;
        rebound.push({ address, generation });
        transaction.put(key, { generation, state: { ...state, ...id, owner, since: record.since } });
        handovers.push({
          address,
          pool,
          event: 'taken-over',
          detail: `from the pod's earlier sandbox ${state.containerId}, while the store could not be asked`,
          containerId: id.containerId,
          ...whose(owner),
        });
      }
      handovers.push(...(await dropOthers(context, transaction, id, rebound, signal)));
      const now = { ...record, addresses: rebound };
      transaction.put(own, now);
      for (const each of from) transaction.delete(attachmentKey(context.host, each));
      noteKept(transaction, id, now);
      return { now, handovers };
    },
    signal,
  );
  for (const handover of done?.handovers ?? []) context.onHandover(handover);
  return done?.now;
}

/** The store may have granted the sandbox others before it was away, of which nobody was told: they never spoke. */
async function dropOthers(
  context: LeaseContext,
  transaction: Transaction,
  id: AttachmentId,
  rebound: AttachmentRecord['addresses'],
  signal: AbortSignal,
): Promise<readonly Handover[]> {
  const there = transaction.get(attachmentKey(context.host, id));
  if (there === undefined) return [];
  const { pool } = there;
  const others = there.addresses.filter(({ address }) => !rebound.some((each) => each.address === address));
  await transaction.load(
    others.map(({ address }) => addressKey(pool, address)),
    signal,
  );
  const dropped = others.filter(({ address, generation }) =>
    isHeldBy(transaction.get(addressKey(pool, address)), context.host, id, generation),
  );
  const coolsUntil = context.now() + context.options.cooldown;
  for (const { address } of dropped) await giveBack(context, transaction, pool, address, coolsUntil, signal);
  return dropped.map(({ address }) => ({
    address,
    pool,
    event: 'freed',
    detail: 'its sandbox went on with what its pod had',
    containerId: id.containerId,
  }));
}
