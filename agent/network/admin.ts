// What people can see and do with `holdfast ip`: the data behind the administration service.
import { create } from '@bufbuild/protobuf';
import { z } from 'zod';
import {
  type Address as AddressMessage,
  AddressSchema,
  type Handover as HandoverMessage,
  HandoverSchema,
  type Pool as PoolMessage,
  PoolSchema,
  type ReserveAddressesRequest,
} from '../../proto/gen/holdfast/admin/v1/admin_pb.ts';
import { type Address, contains, formatSubnet, parseAddress } from '../model/address.ts';
import type { LeaseContext } from './lease-context.ts';
import { keyParts } from './lease-store.ts';
import { listAll } from './list-all.ts';
import { releaseHost } from './lost-host.ts';
import { releaseWaiting, reserveFor } from './manual-changes.ts';
import { usableSize } from './pool.ts';
import { type AddressRecord, addressKey, FOLDERS } from './records.ts';
import { parseRecord } from './transaction.ts';

export interface NetworkAdmin {
  list(signal: AbortSignal): Promise<AddressMessage[]>;
  pools(signal: AbortSignal): Promise<PoolMessage[]>;
  /** @throws HoldfastError INVALID_REQUEST, NO_ROOM, PRECONDITION; what was reserved until then stays */
  reserve(request: ReserveAddressesRequest, signal: AbortSignal): Promise<string[]>;
  /** @throws HoldfastError NOT_FOUND, or PRECONDITION when a sandbox has it */
  release(address: string, signal: AbortSignal): Promise<void>;
  /**
   * Of a host that will not come back.
   * @returns the number of its sandboxes that had addresses
   * @throws HoldfastError PRECONDITION while the host has its lease; INVALID_REQUEST; UNSUPPORTED
   */
  releaseHost(host: string, signal: AbortSignal): Promise<number>;
  handovers(limit: number): Promise<HandoverMessage[]>;
}

const MOST_HANDOVERS = 10_000;

interface Listed {
  readonly pool: string;
  readonly address: Address;
  readonly record: AddressRecord;
}

async function* allAddresses({ store }: LeaseContext, signal: AbortSignal): AsyncGenerator<Listed, void> {
  for await (const { key, value } of listAll(store, FOLDERS.addresses, signal)) {
    const [, pool, name] = keyParts(key);
    if (pool === undefined || name === undefined) continue;
    const { address } = parseAddress(name);
    yield { pool, address, record: parseRecord(key, addressKey(pool, address).schema, value) };
  }
}

function message({ pool, address, record: { state } }: Listed): AddressMessage {
  const common = { address, pool, state: state.kind, host: state.host, sinceMs: BigInt(state.since) };
  switch (state.kind) {
    case 'held': {
      const { network, containerId, ifname, owner } = state;
      const { namespace = '', name: pod = '' } = owner.pod ?? {};
      return create(AddressSchema, {
        ...common,
        network,
        containerId,
        ifname,
        namespace,
        pod,
        app: owner.app?.name ?? '',
      });
    }
    case 'kept': {
      const { network, ifname, pod, owner, until } = state;
      const app = owner.app?.name ?? '';
      return create(AddressSchema, {
        ...common,
        network,
        ifname,
        namespace: pod.namespace,
        pod: pod.name,
        app,
        untilMs: BigInt(until),
      });
    }
    case 'reserved':
      return create(AddressSchema, {
        ...common,
        namespace: state.app.namespace,
        app: state.app.name,
        untilMs: BigInt(state.until),
      });
    case 'quarantined':
      return create(AddressSchema, { ...common, untilMs: BigInt(state.until) });
  }
}

const handoverSchema = z.object({
  at: z.int(),
  address: z.string(),
  pool: z.string(),
  event: z.string(),
  detail: z.string(),
  pod: z.object({ namespace: z.string(), name: z.string() }).optional(),
  app: z.object({ namespace: z.string(), name: z.string() }).optional(),
  containerId: z.string().optional(),
});

/** What happened to addresses, for people to ask later. */
export interface AuditLog {
  append(event: Readonly<Record<string, unknown>>): void;
  /** The newest, the newest last. */
  read(limit: number): Promise<readonly unknown[]>;
}

export function createNetworkAdmin(
  context: LeaseContext,
  defaultPool: string | undefined,
  audit: AuditLog,
): NetworkAdmin {
  return {
    list: async (signal) => {
      const listed: Listed[] = [];
      for await (const each of allAddresses(context, signal)) listed.push(each);
      const order = listed.map((each) => ({ each, ...parseAddress(each.address) }));
      order.sort((a, b) => a.family - b.family || (a.value < b.value ? -1 : 1));
      return order.map(({ each }) => message(each));
    },
    pools: (signal) => listPools(context, signal),
    reserve: (request, signal) => reserveFor(context, defaultPool, request, signal),
    release: (address, signal) => releaseWaiting(context, address, signal),
    releaseHost: (host, signal) => releaseHost(context, host, signal),
    handovers: async (limit) =>
      (await audit.read(Math.min(limit, MOST_HANDOVERS))).flatMap((event) => {
        const parsed = handoverSchema.safeParse(event);
        if (!parsed.success) return [];
        const { at, pod, app, containerId = '', ...rest } = parsed.data;
        const namespace = pod?.namespace ?? app?.namespace ?? '';
        return [
          create(HandoverSchema, {
            ...rest,
            atMs: BigInt(at),
            containerId,
            namespace,
            pod: pod?.name ?? '',
            app: app?.name ?? '',
          }),
        ];
      }),
  };
}

async function listPools(context: LeaseContext, signal: AbortSignal): Promise<PoolMessage[]> {
  const counts = new Map<string, Record<AddressRecord['state']['kind'], number>>();
  for await (const { pool: name, address, record } of allAddresses(context, signal)) {
    const parsed = parseAddress(address);
    const subnet = context.pools.get(name)?.subnets.find((each) => contains(each.subnet, parsed));
    const key = `${name} ${subnet === undefined ? '' : formatSubnet(subnet.subnet)}`;
    const count = counts.get(key) ?? { held: 0, kept: 0, reserved: 0, quarantined: 0 };
    count[record.state.kind] += 1;
    counts.set(key, count);
  }
  return [...context.pools.values()].map((pool) =>
    create(PoolSchema, {
      name: pool.name,
      subnets: pool.subnets.map((each) => {
        const cidr = formatSubnet(each.subnet);
        return { cidr, size: `${usableSize(each)}`, ...counts.get(`${pool.name} ${cidr}`) };
      }),
    }),
  );
}
