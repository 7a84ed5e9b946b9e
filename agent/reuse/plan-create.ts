// Whether a new container gets the layer of the one before it. Pure.
import type { ErrorCode } from '../../lib/errors.ts';
import type { ContainerState } from '../model/pod.ts';
import type { Layer, RebuildReason, Snapshot } from './layer.ts';

/** The new container's own snapshot. */
export interface FreshSnapshot {
  readonly snapshot: Snapshot;
  readonly parent: string;
  /** undefined where it is no overlayfs that we can work with. */
  readonly upperdir: string | undefined;
}

/** What was found out about the layer that the container had before. */
export interface SourceFacts {
  readonly layer: Layer;
  /** Whether its snapshot is still there. */
  readonly exists: boolean;
  readonly upperdir: string | undefined;
  /** undefined when no container holds it, or that container is gone. */
  readonly holderState: ContainerState | undefined;
  /** Where it is mounted, for the message; undefined when nowhere. */
  readonly mountedAt: string | undefined;
}

export interface CreateFacts {
  readonly wantsReuse: boolean;
  readonly resetRequested: boolean;
  /** The layer failed as often in a row as the configuration allows. */
  readonly failedTooOften: boolean;
  readonly fresh: FreshSnapshot;
  readonly source: SourceFacts | undefined;
}

export type CreatePlan =
  /** There is nothing to take over. */
  | { readonly do: 'begin' }
  | { readonly do: 'move'; readonly from: string; readonly to: string }
  | { readonly do: 'rebuild'; readonly reason: RebuildReason }
  | { readonly do: 'refuse'; readonly code: ErrorCode; readonly why: string };

/** Decides by the facts; the order is that of what the user has to know first. */
export function planCreate({ wantsReuse, resetRequested, failedTooOften, fresh, source }: CreateFacts): CreatePlan {
  if (source === undefined) return { do: 'begin' };
  if (!source.exists) return { do: 'rebuild', reason: 'lost' };
  if (!wantsReuse) return { do: 'rebuild', reason: 'policy' };
  if (resetRequested) return { do: 'rebuild', reason: 'reset' };
  if (failedTooOften) return { do: 'rebuild', reason: 'failures' };
  const { layer, upperdir, holderState, mountedAt } = source;
  if (layer.snapshot.snapshotter !== fresh.snapshot.snapshotter) return { do: 'rebuild', reason: 'snapshotter' };
  if (layer.parent !== fresh.parent) return { do: 'rebuild', reason: 'image' };
  if (upperdir === undefined || fresh.upperdir === undefined) return { do: 'rebuild', reason: 'not-overlayfs' };
  // Two overlays over one upperdir corrupt it, so neither of these is ever overruled.
  if (holderState === 'running') {
    return { do: 'refuse', code: 'PRECONDITION', why: 'the container that holds it still runs' };
  }
  if (mountedAt !== undefined) return { do: 'refuse', code: 'UNAVAILABLE', why: `it is still mounted at ${mountedAt}` };
  return { do: 'move', from: upperdir, to: fresh.upperdir };
}

/**
 * What becomes of the old layer's data once the new container has started. Who asked for the change (another image,
 * a reset, another policy, the limit of failures) has given it up; where the host could not move it nobody has.
 */
export function fateOf(reason: RebuildReason): 'drop' | 'strand' {
  switch (reason) {
    case 'image':
    case 'failures':
    case 'reset':
    case 'policy':
    case 'lost':
      return 'drop';
    case 'snapshotter':
    case 'not-overlayfs':
    case 'not-empty':
    case 'other-filesystem':
      return 'strand';
  }
}

const EXPLANATIONS: Readonly<Record<RebuildReason, string>> = {
  image: 'the container has another image',
  snapshotter: 'the runtime uses another snapshotter now',
  'not-overlayfs': 'only overlayfs layers can be handed over',
  'not-empty': 'the new layer is not empty (image volumes or user namespaces fill it at creation)',
  'other-filesystem': 'the old and the new layer are on different filesystems or project quotas',
  failures: 'it failed too often in a row shortly after starting',
  reset: 'an administrator reset it',
  policy: 'the pod no longer asks for restart: reuse',
  lost: 'something outside Holdfast removed the old layer',
};

/** Ends the sentence "… begins with an empty writable layer because". */
export function explainRebuild(reason: RebuildReason): string {
  return EXPLANATIONS[reason];
}
