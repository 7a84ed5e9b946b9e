// The Topology service: read-only, for schedulers and the holdfast command.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Changes } from '../../lib/changes.ts';
import type { Topology } from '../../proto/gen/holdfast/topology/v1/topology_pb.ts';
import type { Handlers } from './handlers.ts';
import type { TopologyView } from './topology-view.ts';

/**
 * Between two messages to one watcher: the creation of a pod is several changes, and 200 watchers need not be told of
 * each. A change that comes after a pause goes out at once.
 */
const BETWEEN_MESSAGES_MS = 20;

/** What watchers' pauses are made of. */
export interface Pacing {
  /** Milliseconds since any moment. */
  readonly now: () => number;
  /** Resolves after so many milliseconds; rejects when the signal is aborted. */
  readonly pause: (ms: number, signal: AbortSignal) => Promise<unknown>;
}

const REAL_TIME: Pacing = {
  now: () => performance.now(),
  pause: (ms, signal) => sleep(ms, undefined, { signal }),
};

/** @param requireKnown - throws while it is not yet known what is handed out: everything would look free */
export function topologyHandlers(
  view: TopologyView,
  changes: Changes,
  requireKnown: () => void,
  { now, pause }: Pacing = REAL_TIME,
): Handlers<typeof Topology> {
  return {
    getTopology: async () => {
      requireKnown();
      return view.snapshot().topology;
    },
    watchTopology: async function* (_request, { signal }) {
      for (;;) {
        requireKnown();
        const { version, topology } = view.snapshot();
        yield topology;
        const sentAt = now();
        await changes.after(version, signal);
        const early = sentAt + BETWEEN_MESSAGES_MS - now();
        if (early > 0) await pause(early, signal);
      }
    },
    listAllocations: async () => {
      requireKnown();
      return view.snapshot().allocations;
    },
    planPlacement: async (request) => {
      requireKnown();
      return view.planPlacement(request);
    },
  };
}
