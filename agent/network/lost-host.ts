// Gives up what a host holds that will not come back, as an administrator says or as the configuration does: its pods keep
// their addresses for their next life elsewhere, its apps get them into their reserves, the rest is free.
import { HoldfastError } from '../../lib/errors.ts';
import type { Address } from '../model/address.ts';
import { attemptAll } from './attempt-all.ts';
import { type Due, listDue } from './expire.ts';
import type { LeaseContext } from './lease-context.ts';
import { listAttachments } from './list-attachments.ts';
import { type AppKey, addressKey, expiryKey, hostKey, reserveKey } from './records.ts';
import { takeBack } from './release.ts';
import { inTurn, Transaction } from './transaction.ts';

/**
 * Safe to be done again when it was interrupted.
 * @param host - must not have its lease any more, and nothing of it may speak
 * @returns the number of its sandboxes that had addresses
 * @throws HoldfastError PRECONDITION while the host has its lease; INVALID_REQUEST for this host itself; UNSUPPORTED where no
 *   other host shares the store; UNAVAILABLE when the store cannot be asked
 */
export async function releaseHost(context: LeaseContext, host: string, signal: AbortSignal): Promise<number> {
  if (context.otherHosts === undefined) {
    throw new HoldfastError(
      'UNSUPPORTED',
      'this host shares its addresses with no other: network.store of its configuration is embedded',
    );
  }
  if (host === context.host) {
    throw new HoldfastError('INVALID_REQUEST', `${host} is this host: its agent runs, and collects what is over`);
  }
  // Asked before anything else, for a clear answer; what counts is that it is so at each change.
  await requireGone(new Transaction(context.store), host, signal);
  const holder = { ...context, host };
  const attachments = await listAttachments(holder, signal);
  await attemptAll(
    attachments.map(({ id }) => async () => {
      const detail = `host ${host}, which held it, is gone`;
      const handovers = await inTurn(
        context,
        async (transaction) => {
          await requireGone(transaction, host, signal);
          return await takeBack(context, transaction, { host, id, detail, isMoved: true }, signal);
        },
        signal,
      );
      for (const handover of handovers) context.onHandover(handover);
    }),
    'released',
    signal,
  );
  await adoptWaiting(context, host, signal);
  return attachments.length;
}

async function requireGone(transaction: Transaction, host: string, signal: AbortSignal): Promise<void> {
  await transaction.load([hostKey(host)], signal);
  if (transaction.get(hostKey(host)) === undefined) return;
  throw new HoldfastError(
    'PRECONDITION',
    `host ${host} has its lease in etcd: its agent runs, and its pods may, too; stop the host first`,
  );
}

/** What the host would have ended in time is looked after by this one from now on. */
async function adoptWaiting(context: LeaseContext, host: string, signal: AbortSignal): Promise<void> {
  for (;;) {
    const due = await listDue(context, host, signal);
    if (due.length === 0) return;
    await attemptAll(
      due.map(
        (each) => () => inTurn(context, (transaction) => adopt(context, transaction, host, each, signal), signal),
      ),
      'taken over',
      signal,
    );
  }
}

async function adopt(
  context: LeaseContext,
  transaction: Transaction,
  host: string,
  { until, pool, address }: Due,
  signal: AbortSignal,
): Promise<void> {
  const key = addressKey(pool, address);
  await requireGone(transaction, host, signal);
  await transaction.load([key], signal);
  transaction.delete(expiryKey(host, until, pool, address));
  const record = transaction.get(key);
  const state = record?.state;
  if (record === undefined || state === undefined || state.kind === 'held') return;
  if (state.until !== until || state.host !== host) return;
  const adopted = { ...state, host: context.host };
  transaction.put(key, { ...record, state: adopted.kind === 'kept' ? { ...adopted, isMoved: true } : adopted });
  transaction.put(expiryKey(context.host, until, pool, address), {});
  if (state.kind === 'reserved') await adoptEntry(context, transaction, pool, address, state.app, signal);
}

async function adoptEntry(
  context: LeaseContext,
  transaction: Transaction,
  pool: string,
  address: Address,
  app: AppKey,
  signal: AbortSignal,
): Promise<void> {
  const key = reserveKey(app, pool);
  await transaction.load([key], signal);
  const entries = (transaction.get(key)?.entries ?? []).map((entry) =>
    entry.addresses.includes(address) ? { ...entry, host: context.host } : entry,
  );
  if (entries.length > 0) transaction.put(key, { entries });
}
