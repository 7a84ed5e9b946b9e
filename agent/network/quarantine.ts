// Takes an address out of use that somebody has without a record of ours, until he has not had it for a while.
import { formatSubnet, parseAddress } from '../model/address.ts';
import type { LeaseContext } from './lease-context.ts';
import { isTaken, withTaken } from './plan-block.ts';
import { placeOf, subnetOf } from './pool.ts';
import { addressKey, blockKey, expiryKey } from './records.ts';
import { inTurn } from './transaction.ts';

/**
 * @param why - for people, such as which interface has it
 * @param forMs - milliseconds; prolonged by the next call once half of it is over
 * @returns whether it is news; false also for what is on record already, or in no pool
 */
export async function quarantine(
  context: LeaseContext,
  text: string,
  why: string,
  forMs: number,
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
      if (there !== undefined && there.kind !== 'quarantined') return false;
      if (there !== undefined && there.until - context.now() > forMs / 2) return false;
      if (there !== undefined) transaction.delete(expiryKey(there.host, there.until, pool.name, address));
      const since = there?.since ?? context.now();
      const state = { kind: 'quarantined', host: context.host, why, since, until } as const;
      transaction.put(own, { generation: 0, state });
      transaction.put(expiryKey(context.host, until, pool.name, address), {});
      const record = transaction.get(place);
      if (!isTaken(record, offset)) transaction.put(place, withTaken(record, offset, context.now()));
      return there === undefined;
    },
    signal,
  );
}
