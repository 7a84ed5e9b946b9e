// Takes an address out of use that somebody has without a record of ours, until he has not had it for a while.
import { formatSubnet, parseAddress } from '../model/address.ts';
import { forget } from './expire.ts';
import type { LeaseContext } from './lease-context.ts';
import { isTaken, withTaken } from './plan-block.ts';
import { placeOf, subnetOf } from './pool.ts';
import { addressKey, blockKey, expiryKey } from './records.ts';
import { inTurn } from './transaction.ts';

export interface InUse {
  readonly address: string;
  /** For people, such as which interface has it. */
  readonly why: string;
  /** Milliseconds; prolonged by the next call once half of it is over. */
  readonly forMs: number;
  /** Also what waits for a pod or an app, which then gets another one. */
  readonly evenIfWaiting?: boolean;
}

/** @returns whether it is news; false also for what is on record already, or in no pool */
export async function quarantine(
  context: LeaseContext,
  { address: text, why, forMs, evenIfWaiting = false }: InUse,
  signal: AbortSignal,
): Promise<boolean> {
  const parsed = parseAddress(text);
  const { address } = parsed;
  const pool = [...context.pools.values()].find((each) => subnetOf(each, parsed) !== undefined);
  const subnet = pool && subnetOf(pool, parsed);
  if (pool === undefined || subnet === undefined) return false;
  const { block, offset } = placeOf(subnet, parsed.value);
  const own = addressKey(pool.name, address);
  const place = blockKey(pool.name, formatSubnet(subnet.subnet), block);
  const until = context.now() + forMs;
  return await inTurn(
    context,
    async (transaction) => {
      await transaction.load([own, place], signal);
      const there = transaction.get(own)?.state;
      if (there?.kind === 'held') return false;
      const isKnown = there?.kind === 'quarantined';
      if (there !== undefined && !isKnown && !evenIfWaiting) return false;
      if (isKnown && there.until - context.now() > forMs / 2) return false;
      if (there !== undefined) {
        await forget(transaction, pool.name, address, there, signal);
        transaction.delete(expiryKey(there.host, there.until, pool.name, address));
      }
      const since = isKnown ? there.since : context.now();
      const state = { kind: 'quarantined', host: context.host, why, since, until } as const;
      transaction.put(own, { generation: 0, state });
      transaction.put(expiryKey(context.host, until, pool.name, address), {});
      const record = transaction.get(place);
      if (!isTaken(record, offset)) transaction.put(place, withTaken(record, offset, context.now()));
      return !isKnown;
    },
    signal,
  );
}
