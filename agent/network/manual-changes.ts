// What an administrator changes by hand: addresses put into an app's reserve, and addresses given back before their time.
import { HoldfastError } from '../../lib/errors.ts';
import type { ReserveAddressesRequest } from '../../proto/gen/holdfast/admin/v1/admin_pb.ts';
import { type Address, parseAddress } from '../model/address.ts';
import { forget } from './expire.ts';
import { giveBack, takeFree } from './free-places.ts';
import type { LeaseContext } from './lease-context.ts';
import { withEntry } from './plan-reserve.ts';
import { familiesOf, type Pool } from './pool.ts';
import { addressKey, expiryKey, reserveKey } from './records.ts';
import { inTurn } from './transaction.ts';

const MOST_RESERVED_AT_ONCE = 16;

/**
 * Puts free addresses into the reserve of an app, for so many pods.
 * @throws HoldfastError INVALID_REQUEST, NO_ROOM or PRECONDITION; what was reserved until then stays
 */
export async function reserveFor(
  context: LeaseContext,
  defaultPool: string | undefined,
  { namespace, app: name, pool: poolName, count }: ReserveAddressesRequest,
  signal: AbortSignal,
): Promise<string[]> {
  const { options, host, now } = context;
  const pool = context.pools.get(poolName === '' ? (defaultPool ?? '') : poolName);
  if (pool === undefined || namespace === '' || name === '' || count < 1 || count > MOST_RESERVED_AT_ONCE) {
    throw new HoldfastError(
      'INVALID_REQUEST',
      `a reserve needs a namespace, an app, one of the pools (${[...context.pools.keys()].join(', ')}) and a number from 1 to ${MOST_RESERVED_AT_ONCE}`,
    );
  }
  const app = { namespace, name };
  const reserved: string[] = [];
  for (let n = 0; n < count; n += 1) {
    const since = now();
    const until = since + options.reserve.keepFor;
    const addresses = await inTurn(
      context,
      async (transaction) => {
        const key = reserveKey(app, pool.name);
        await transaction.load([key], signal);
        if ((transaction.get(key)?.entries.length ?? 0) >= options.reserve.cap) {
          throw new HoldfastError(
            'PRECONDITION',
            `the reserve of ${namespace}/${name} is full; network.reserve.cap is ${options.reserve.cap}`,
          );
        }
        const taken = await takeAll(context, transaction, pool, signal);
        for (const address of taken) {
          transaction.put(addressKey(pool.name, address), {
            generation: 0,
            state: { kind: 'reserved', host, app, since, until },
          });
          transaction.put(expiryKey(host, until, pool.name, address), {});
        }
        transaction.put(
          key,
          withEntry(transaction.get(key), { addresses: taken, host, since, until }, options.reserve.cap).record,
        );
        return taken;
      },
      signal,
    );
    for (const address of addresses) {
      context.onHandover({ address, pool: pool.name, event: 'reserved', detail: 'by an administrator', app });
    }
    reserved.push(...addresses);
  }
  return reserved;
}

async function takeAll(
  context: LeaseContext,
  transaction: Parameters<typeof takeFree>[1],
  pool: Pool,
  signal: AbortSignal,
): Promise<Address[]> {
  const addresses: Address[] = [];
  for (const family of familiesOf(pool)) {
    const address = await takeFree(context, transaction, pool, family, signal);
    if (address === undefined) throw new HoldfastError('NO_ROOM', `pool ${pool.name} has no free IPv${family} address`);
    addresses.push(address);
  }
  return addresses;
}

/**
 * Gives an address back that waits for a pod or an app.
 * @throws HoldfastError NOT_FOUND, or PRECONDITION when a sandbox has it
 */
export async function releaseWaiting(context: LeaseContext, text: string, signal: AbortSignal): Promise<void> {
  const { address } = parseAddress(text);
  const released = await inTurn(
    context,
    async (transaction) => {
      const keys = [...context.pools.keys()].map((pool) => ({ pool, key: addressKey(pool, address) }));
      await transaction.load(
        keys.map(({ key }) => key),
        signal,
      );
      const found = keys.find(({ key }) => transaction.get(key) !== undefined);
      const state = found && transaction.get(found.key)?.state;
      if (found === undefined || state === undefined) {
        throw new HoldfastError('NOT_FOUND', `${address} is nobody's; holdfast ip ls shows what is on record`);
      }
      if (state.kind === 'held') {
        throw new HoldfastError(
          'PRECONDITION',
          `sandbox ${state.containerId} on ${state.host} has ${address}; it is free to be released when its pod is gone`,
        );
      }
      const whose = await forget(transaction, found.pool, address, state, signal);
      transaction.delete(expiryKey(state.host, state.until, found.pool, address));
      await giveBack(context, transaction, found.pool, address, context.now() + context.options.cooldown, signal);
      return { pool: found.pool, ...whose };
    },
    signal,
  );
  context.onHandover({ address, event: 'freed', detail: 'by an administrator', ...released });
}
