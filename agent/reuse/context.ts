// What the parts of the feature work with.
import type { Logger } from 'pino';
import { HoldfastError } from '../../lib/errors.ts';
import type { PodSource } from '../cluster/pod-source.ts';
import type { Directories } from '../host/directories.ts';
import type { HostTree } from '../host/host-tree.ts';
import type { ContainerRuntime, LayerStore } from '../runtime/runtime.ts';
import type { LayerBook } from './book.ts';
import { nameOf, type Subject } from './layer.ts';
import type { ReuseMetrics } from './metrics.ts';
import type { Notices } from './notices.ts';
import type { Budget } from './plan-budget.ts';
import type { FailureLimit } from './plan-failures.ts';

export interface ReuseOptions extends Budget {
  readonly fastFailures: FailureLimit;
  /** Milliseconds after which a layer is measured again. */
  readonly measureIntervalMs: number;
}

export interface ReuseContext {
  readonly runtime: ContainerRuntime;
  readonly podSource: Pick<PodSource, 'find'>;
  readonly tree: HostTree;
  readonly directories: Directories;
  readonly book: LayerBook;
  readonly metrics: ReuseMetrics;
  readonly notices: Notices;
  readonly logger: Logger;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** When the agent started, in milliseconds since the epoch. */
  readonly startedAt: number;
  readonly options: ReuseOptions;
  /** The store was rebuilt from an older copy: its records may lack the last changes. */
  readonly recovered: boolean;
  /** Passes a failpoint. */
  readonly reach: (point: string) => Promise<void>;
}

/** How long the calls of a change may take that was begun and must not stop half-way because the caller gave up. */
export const CHANGE_TIMEOUT_MS = 30_000;

/** Fields by which log lines about a container are found. */
export function logFields({ podUid, namespace, pod, container }: Subject): Readonly<Record<string, string>> {
  return { podUid, namespace, pod, container };
}

/** The runtime's layers, once it is known whether it has them. */
export async function layersOfRuntime(
  { runtime }: Pick<ReuseContext, 'runtime'>,
  signal: AbortSignal,
): Promise<LayerStore | undefined> {
  if (runtime.layers === undefined) await runtime.version(signal);
  return runtime.layers;
}

/** As {@link layersOfRuntime}, where there are records, and so there must be layers. */
export async function requireLayers(
  context: Pick<ReuseContext, 'runtime'>,
  subject: Subject,
  signal: AbortSignal,
): Promise<LayerStore> {
  const layers = await layersOfRuntime(context, signal);
  if (layers !== undefined) return layers;
  throw new HoldfastError(
    'UNAVAILABLE',
    `the writable layer of ${nameOf(subject)} is on record, but the runtime that answers now has no layers; was another runtime started on the socket?`,
  );
}
