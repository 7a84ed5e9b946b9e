// What is found out about a layer while the runtime is still creating the container that may take it over: where it
// lies, and whether any mount namespace still has it mounted. Looking through all namespaces takes a while on a full
// host, and this way costs the creation nothing.
import { describeError, HoldfastError } from '../../lib/errors.ts';
import { findOverlayMount } from '../host/mounts.ts';
import { layersOfRuntime, type ReuseContext } from './context.ts';
import { type Layer, sameSnapshot } from './layer.ts';

export interface Preparation {
  readonly upperdir: string | undefined;
  /** For messages; undefined when it is mounted nowhere. */
  readonly mountedAt: string | undefined;
}

type Outcome = { readonly done: Preparation } | { readonly error: unknown };

/** Its own limit: the call that begins it ends before it does. */
const PREPARATION_TIMEOUT_MS = 30_000;

/** @throws HoldfastError UNAVAILABLE when it could not be found out: nothing may move then */
export async function prepare(context: ReuseContext, layer: Layer, signal: AbortSignal): Promise<Preparation> {
  try {
    const layers = await layersOfRuntime(context, signal);
    const upperdir = await layers?.upperdirOf(layer.snapshot, signal);
    if (upperdir === undefined) return { upperdir: undefined, mountedAt: undefined };
    const mount = await findOverlayMount(context.tree, upperdir, signal);
    return { upperdir, mountedAt: mount && `${mount.mountPoint} (seen by process ${mount.pid})` };
  } catch (cause) {
    throw new HoldfastError(
      'UNAVAILABLE',
      `it could not be found out whether the writable layer ${layer.snapshot.key} is still mounted`,
      { cause },
    );
  }
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
      // A mount that was seen may be gone by now: containers end slowly.
      if ('done' in outcome && outcome.done.mountedAt === undefined) return outcome.done;
      if ('error' in outcome) this.#context.logger.debug({ error: describeError(outcome.error) }, 'preparation failed');
    }
    return await prepare(this.#context, layer, signal);
  }

  /** The pod is gone. */
  forget(key: string): void {
    this.#pending.delete(key);
  }
}
