// Brings books, runtime and kernel together: at start, and again on a schedule.
import type { Logger } from 'pino';
import type { ContainerId } from '../model/ids.ts';
import type { ContainerRuntime } from '../runtime/runtime.ts';
import type { Store } from '../state/store.ts';
import type { Applier } from './apply.ts';
import type { Books } from './books.ts';
import { decodeHolding, HOLDINGS } from './holding.ts';
import type { Members } from './members.ts';
import { planRebuild } from './plan-rebuild.ts';
import type { SharedPool } from './shared-pool.ts';
import type { Teller } from './teller.ts';

export interface UpkeepOptions {
  readonly store: Store;
  readonly runtime: ContainerRuntime;
  readonly logger: Logger;
  readonly books: Books;
  readonly members: Members;
  readonly applier: Applier;
  readonly teller: Teller;
  readonly pool: SharedPool;
}

/**
 * Rebuilds the books from the store and from what is stamped on containers, then compares all containers with the
 * kernel. Where one cannot be moved now, reconciling comes back to it: the agent must not stay away for it.
 */
export async function recoverBooks(options: UpkeepOptions, signal: AbortSignal): Promise<void> {
  const { store, runtime, logger, books, teller } = options;
  const containers = await runtime.listContainers(signal);
  const stored = new Map([...store.entries(HOLDINGS)].map(([uid, record]) => [uid, decodeHolding(record)]));
  const { holdings, remarks } = planRebuild(stored, containers);
  for (const remark of remarks) logger.error({}, remark);
  await books.load(holdings);
  const listed = new Set<ContainerId>(containers.map(({ id }) => id));
  await teller.forget([...teller.stored().keys()].filter((id) => !listed.has(id)));
  await compareAll(options, signal);
}

/** Publishes the mask, learns which containers there are, compares them with the kernel and repairs what differs. */
export async function compareAll(options: UpkeepOptions, signal: AbortSignal): Promise<void> {
  const { runtime, members, applier, teller, pool } = options;
  const unmoved = await pool.spreadAnyway();
  const before = members.ids();
  const listed = await runtime.listContainers(signal);
  const told = teller.stored();
  members.refresh(listed, before, (id) => told.get(id));
  await teller.forget([...new Set([...before, ...told.keys()])].filter((id) => members.get(id) === undefined));
  await applier.locateAll(await runtime.processIds(signal));
  pool.logFailures([...unmoved, ...(await applier.checkAll())]);
}
