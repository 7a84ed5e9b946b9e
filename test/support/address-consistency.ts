// Whether all that a store has on record about addresses tells one story.
import { type Address, formatSubnet, parseAddress } from '../../agent/model/address.ts';
import { keyParts, type LeaseStore, type StoreKey } from '../../agent/network/lease-store.ts';
import { isTaken } from '../../agent/network/plan-block.ts';
import { addressAt, BLOCK_SIZE, type Pool, placeOf, subnetOf } from '../../agent/network/pool.ts';
import {
  type AddressRecord,
  addressKey,
  attachmentKey,
  blockKey,
  expiryKey,
  keptKey,
  reserveKey,
} from '../../agent/network/records.ts';
import { parseRecord } from '../../agent/network/transaction.ts';

const SIGNAL = new AbortController().signal;

async function everything(store: LeaseStore): Promise<ReadonlyMap<StoreKey, string>> {
  const folders = ['address', 'attachment', 'kept', 'reserve', 'block', 'expiry'];
  const lists = await Promise.all(folders.map((folder) => store.list(folder, { limit: 1_000_000 }, SIGNAL)));
  return new Map(lists.flat().map(({ key, value }) => [key, value] as const));
}

/** What contradicts what, in sentences; empty when nothing does. */
export async function inconsistencies(store: LeaseStore, pools: readonly Pool[]): Promise<readonly string[]> {
  const all = await everything(store);
  const problems: string[] = [];
  const expectKey = (key: StoreKey, why: string): void => {
    if (!all.has(key)) problems.push(`${key} is missing: ${why}`);
  };
  const records = new Map<string, AddressRecord>();
  for (const [key, value] of all) {
    const [folder, pool = '', address = ''] = keyParts(key);
    if (folder !== 'address') continue;
    const record = parseRecord(key, addressKey(pool, address as Address).schema, value);
    records.set(`${pool} ${address}`, record);
    const { state } = record;
    if (state.kind === 'held') {
      const own = attachmentKey(state.host, state);
      expectKey(own.key, `${address} is held by it`);
      const text = all.get(own.key);
      const attachment = text === undefined ? undefined : parseRecord(own.key, own.schema, text);
      if (
        attachment?.addresses.some((each) => each.address === address && each.generation === record.generation) ===
        false
      ) {
        problems.push(`${own.key} does not name ${address}`);
      }
    } else {
      expectKey(expiryKey(state.host, state.until, pool, address as Address).key, `${address} is ${state.kind}`);
    }
    if (state.kind === 'kept') expectKey(keptKey(state.pod, state.network, state.ifname).key, `${address} is kept`);
    if (state.kind === 'reserved') expectKey(reserveKey(state.app, pool).key, `${address} is reserved`);
  }
  for (const [key, value] of all) {
    const [folder, poolName = '', cidr = '', block = '0'] = keyParts(key);
    if (folder === 'expiry') {
      const [, host = '', , pool = '', address = ''] = keyParts(key);
      const state = records.get(`${pool} ${address}`)?.state;
      if (state === undefined || state.kind === 'held' || state.host !== host) problems.push(`${key} is for nothing`);
    }
    if (folder !== 'block') continue;
    const pool = pools.find(({ name }) => name === poolName);
    const subnet = pool?.subnets.find((each) => formatSubnet(each.subnet) === cidr);
    if (subnet === undefined) continue;
    const number = BigInt(`0x${block}`);
    const record = parseRecord(key, blockKey(poolName, cidr, number).schema, value);
    for (let offset = 0; offset < BLOCK_SIZE; offset += 1) {
      const taken = isTaken(record, offset);
      const name = addressAt(subnet, number, offset);
      if (taken !== records.has(`${poolName} ${name}`)) {
        problems.push(`${name} is ${taken ? 'taken, and nobody has it' : "somebody's, and not taken"}`);
      }
      if (taken && record.cooling[offset] !== undefined) problems.push(`${name} is taken and cooling`);
    }
  }
  for (const name of records.keys()) {
    const [poolName = '', address = ''] = name.split(' ');
    const pool = pools.find((each) => each.name === poolName);
    const subnet = pool && subnetOf(pool, parseAddress(address));
    if (subnet === undefined) continue;
    const { block } = placeOf(subnet, parseAddress(address).value);
    expectKey(blockKey(poolName, formatSubnet(subnet.subnet), block).key, `${address} is in it`);
  }
  return problems;
}
