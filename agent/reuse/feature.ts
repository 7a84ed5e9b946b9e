// The reuse feature: a container of a pod with `restart: reuse` keeps its writable layer over restarts. Every attempt is
// a new container; the layer is moved into it. This file answers the lifecycle steps, under one lock per container.
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import type { Failpoint } from '../../lib/failpoint.ts';
import { KeyedMutex } from '../../lib/keyed-mutex.ts';
import type { PodName, PodSource } from '../cluster/pod-source.ts';
import { openDirectories } from '../host/directories.ts';
import type { HostTree } from '../host/host-tree.ts';
import type { ContainerStep, Feature } from '../lifecycle/feature.ts';
import type { ContainerId, PodUid } from '../model/ids.ts';
import type { ContainerRuntime } from '../runtime/runtime.ts';
import type { Store } from '../state/store.ts';
import { createReuseAdmin, type ReuseAdmin } from './admin.ts';
import { LayerBook } from './book.ts';
import { layersOfRuntime, logFields, type ReuseContext, type ReuseOptions } from './context.ts';
import { DROPS_LOCK, dropAll } from './drop-layers.ts';
import { keepOnRemoval, takeBack } from './give-back.ts';
import { handOver, subjectOf, wantsReuse } from './hand-over.ts';
import { type ContainerLayers, keptOf, layerKey } from './layer.ts';
import { createMetrics } from './metrics.ts';
import { Notices } from './notices.ts';
import { emptyRecord, layersOf, sourceOf } from './plan-layers.ts';
import { Preparations } from './prepare.ts';
import { resolveEntry } from './resolve.ts';
import { markStarted, settle } from './settle.ts';
import { statusLines } from './status.ts';
import { Upkeep } from './upkeep.ts';

export interface ReuseParts {
  readonly runtime: ContainerRuntime;
  readonly store: Store;
  readonly podSource: Pick<PodSource, 'find'>;
  /** The host below its root directory. */
  readonly tree: HostTree;
  readonly logger: Logger;
  readonly registry: Registry;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly options: ReuseOptions;
  /** The store was damaged and rebuilt: its records may be older than the last hand-over. */
  readonly recovered?: boolean;
  /** For crash tests. */
  readonly failpoint?: Failpoint;
}

export interface Reuse extends Feature {
  readonly admin: ReuseAdmin;
  /** Pods with layers on record: some may have neither a sandbox nor a record elsewhere, and their holdings end too. */
  pods(): readonly PodName[];
  /** Measures layers, keeps them within the budget and removes what was given up. May take minutes. */
  measure(signal: AbortSignal): Promise<void>;
}

/** Builds the feature from its store; nothing on the host is touched before `recover`. */
export function createReuse({
  store,
  registry,
  failpoint,
  now,
  options,
  tree,
  recovered = false,
  ...parts
}: ReuseParts): Reuse {
  const book = new LayerBook(store);
  const context: ReuseContext = {
    ...parts,
    tree,
    now,
    startedAt: now(),
    options,
    recovered,
    book,
    directories: openDirectories(tree.root),
    metrics: createMetrics(registry, book),
    notices: new Notices(now),
    reach: async (point) => failpoint?.(point),
  };
  const { logger } = context;
  const locks = new KeyedMutex();
  const preparations = new Preparations(context);
  const upkeep = new Upkeep(context, locks);

  /** Runs a step under the container's lock, with no change of it left unfinished. */
  const withLayer = <Result>(key: string, signal: AbortSignal, work: () => Promise<Result>): Promise<Result> =>
    locks.run(
      key,
      async () => {
        await resolveEntry(context, key);
        return await work();
      },
      signal,
    );

  /** What was given up is removed after the call was answered; what fails stays on record for reconcile. */
  const dropLater = (): void => {
    if (book.drops().size === 0) return;
    void locks.run(DROPS_LOCK, () => dropAll(context));
  };

  /** The key of a container that has anything to do with this feature. */
  const keyOf = ({ pod, container }: ContainerStep): string | undefined => {
    const key = layerKey({ podUid: pod.uid, container: container.name });
    return book.layers(key) === undefined && book.entry(key) === undefined ? undefined : key;
  };

  const step = async (
    { signal, ...step }: ContainerStep,
    work: (key: string, id: ContainerId) => Promise<void>,
  ): Promise<void> => {
    const key = keyOf({ signal, ...step });
    if (key !== undefined) await withLayer(key, signal, () => work(key, step.container.id));
    dropLater();
  };

  return {
    name: 'reuse',

    recover: async (signal) => {
      await upkeep.recover(signal);
      dropLater();
    },

    containerCreating: async (creating) => {
      if (!wantsReuse(creating)) return {};
      const key = layerKey(subjectOf(creating));
      await upkeep.ensureAdopted(creating.signal);
      await withLayer(key, creating.signal, async () => {
        if ((await layersOfRuntime(context, creating.signal)) === undefined) return;
        const known = await settle(context, key, creating.signal);
        const layer = known && sourceOf(known);
        if (layer !== undefined) preparations.begin(key, layer);
      });
      return {};
    },

    containerCreated: async (created) => {
      const key = layerKey(subjectOf(created));
      if (!wantsReuse(created) && book.layers(key) === undefined && book.entry(key) === undefined) return;
      await upkeep.ensureAdopted(created.signal);
      await withLayer(key, created.signal, async () => {
        await settle(context, key, created.signal);
        await handOver(context, preparations, key, created);
      });
      dropLater();
    },

    containerAbandoned: (abandoned) => step(abandoned, (key, id) => takeBack(context, key, id)),

    containerStarted: (started) =>
      step(started, async (key, id) => {
        const known = book.layers(key);
        if (known !== undefined) await markStarted(context, key, known, id);
      }),

    containerRemoving: async (removing) => {
      // Without the records of a lost store its layer would be taken for nobody's.
      if (removing.container.policy.restart === 'reuse') await upkeep.ensureAdopted(removing.signal);
      await step(removing, (key, id) =>
        removing.container.state === 'created'
          ? takeBack(context, key, id)
          : keepOnRemoval(context, key, id, removing.signal),
      );
    },

    podGone: async (uid, why, signal) => {
      for (const key of keysOf(book, uid)) {
        await withLayer(key, signal, async () => {
          const known = book.layers(key);
          if (known === undefined) return;
          const dropped = layersOf(known).flatMap((layer) => keptOf(layer) ?? []);
          await book.write(key, { layers: emptyRecord(known), dropped });
          logger.info({ ...logFields(known), why, kept: dropped.length }, 'writable layers of the pod given back');
        });
        preparations.forget(key);
      }
      dropLater();
    },

    reconcile: async (signal) => {
      await upkeep.reconcile(signal);
      // What the comparison found to be nobody's.
      dropLater();
    },

    measure: (signal) => upkeep.measure(signal),

    status: () => statusLines(context),

    admin: createReuseAdmin(context, withLayer, dropLater),

    pods: () => {
      const pods = new Map<PodUid, PodName>();
      for (const { podUid: uid, namespace, pod: name } of book.allLayers().values()) {
        pods.set(uid, { uid, namespace, name });
      }
      return [...pods.values()];
    },
  };
}

function keysOf(book: LayerBook, uid: PodUid): readonly string[] {
  const mine = (layers: ContainerLayers): boolean => layers.podUid === uid;
  const recorded = [...book.allLayers()].filter(([, layers]) => mine(layers)).map(([key]) => key);
  const unfinished = [...book.allEntries()].filter(([, { after }]) => mine(after)).map(([key]) => key);
  return [...new Set([...recorded, ...unfinished])];
}
