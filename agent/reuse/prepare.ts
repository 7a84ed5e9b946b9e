// What is found out about a layer while the runtime is still creating the container that may take it over: where it
// lies, who holds it, and whether any mount namespace still has it mounted. Looking through all namespaces takes a while
// on a full host, and this way costs the creation nothing.
import { describeError, HoldfastError } from '../../lib/errors.ts';
import { findOverlayMount } from '../host/mounts.ts';
import type { RuntimeContainerStatus } from '../runtime/runtime.ts';
import { layersOfRuntime, type ReuseContext } from './context.ts';
import { type Layer, sameSnapshot } from './layer.ts';

export interface Preparation {
  /** Whether the snapshot is still there. */
  readonly exists: boolean;
  /** The container that holds the layer; undefined when none does, or it is gone. */
  readonly holder: RuntimeContainerStatus | undefined;
  readonly upperdir: string | undefined;
  /** For messages; undefined when it is mounted nowhere. */
  readonly mountedAt: string | undefined;
}

type Outcome = { readonly done: Preparation } | { readonly error: unknown };

/** Its own limit: the call that begins it ends before it does. */
const PREPARATION_TIMEOUT_MS = 30_000;

/** @throws HoldfastError UNAVAILABLE when it could not be found out: nothing may move then */
export async function prepare(context: ReuseContext, layer: Layer, signal: AbortSignal): Promise<Preparation> {
  const { holder, snapshot } = layer;
  try {
    const layers = await layersOfRuntime(context, signal);
    const [parent, upperdir, status] = await Promise.all([
      layers?.parentOf(snapshot, signal),
      layers?.upperdirOf(snapshot, signal),
      holder.kind === 'container' ? context.runtime.containerStatus(holder.id, signal) : undefined,
    ]);
    const mount = upperdir === undefined ? undefined : await findOverlayMount(context.tree, upperdir, signal);
    return {
      exists: parent !== undefined,
      holder: status,
      upperdir,
      mountedAt: mount && `${mount.mountPoint} (seen by process ${mount.pid})`,
    };
  } catch (cause) {
    throw new HoldfastError(
      'UNAVAILABLE',
      `it could not be found out whether the writable layer ${snapshot.key} is still in use`,
      { cause },
    );
  }
}

/** A layer in use may be free by now (containers end slowly), one that is free stays so: its container never starts again. */
function isFinal({ holder, mountedAt }: Preparation): boolean {
  return mountedAt === undefined && holder?.state !== 'running';
}

/** Preparations under way, by container. Each is used once; one that nobody asks for is replaced by the next. */
export class Preparations {
  readonly #context: ReuseContext;
  readonly #pending = new Map<string, { readonly layer: Layer; readonly outcome: Promise<Outcome> }>();

  constructor(context: ReuseContext) {
    this.#context = context;
  }

  /** Does not wait. */
  begin(key: string, layer: Layer): void {
    const outcome = prepare(this.#context, layer, AbortSignal.timeout(PREPARATION_TIMEOUT_MS)).then(
      (done): Outcome => ({ done }),
      (error: unknown): Outcome => ({ error }),
    );
    this.#pending.set(key, { layer, outcome });
  }

  /** The result of what was begun for this layer; finds it out now when nothing was, or when it failed. */
  async take(key: string, layer: Layer, signal: AbortSignal): Promise<Preparation> {
    const pending = this.#pending.get(key);
    this.#pending.delete(key);
    if (pending !== undefined && sameSnapshot(pending.layer.snapshot, layer.snapshot)) {
      const outcome = await pending.outcome;
      if ('done' in outcome && isFinal(outcome.done)) return outcome.done;
      if ('error' in outcome) this.#context.logger.debug({ error: describeError(outcome.error) }, 'preparation failed');
    }
    return await prepare(this.#context, layer, signal);
  }

  /** The pod is gone. */
  forget(key: string): void {
    this.#pending.delete(key);
  }
}
