// The published messages of one version, for what is derived from both of them.
import type { Snapshot } from '../published/snapshot.ts';
import type { TopologyView } from './topology-view.ts';

/** They are shared with everybody who looks at this version: nobody may change them. */
export function takeSnapshot(view: Pick<TopologyView, 'snapshot'>): Snapshot {
  const { topology, allocations } = view.snapshot();
  return { host: topology, allocations };
}
