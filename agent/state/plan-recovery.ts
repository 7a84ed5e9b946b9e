// Which copy of the state is used: the database, the snapshot, or none. Pure.
import type { DatabaseContent } from './lmdb-file.ts';
import type { RawRecord } from './record.ts';
import type { SnapshotResult } from './snapshot.ts';

/** What happened to the state before this start; features rebuild what is missing from the runtime and the kernel. */
export interface StoreRecovery {
  /** What the state was rebuilt from. */
  readonly recovered: 'snapshot' | 'empty';
  readonly reason: string;
  /** Only for `snapshot`: changes made in this time before now may be missing. */
  readonly snapshotAgeMs?: number;
  /** Only for `snapshot`: records in it that were damaged too. */
  readonly lostRecords?: number;
}

export interface RecoveryPlan {
  readonly records: readonly RawRecord[];
  /** Number of the transaction that holds the records. */
  readonly sequence: number;
  /** The database file is not what is used: a fresh one must be written. */
  readonly rewrite: boolean;
  /** Absent when nothing was lost. */
  readonly recovery?: StoreRecovery;
}

/** @param now - milliseconds since the epoch */
export function planRecovery(database: DatabaseContent, snapshot: SnapshotResult, now: number): RecoveryPlan {
  if (database.kind === 'intact') {
    // The snapshot holds only what was durable before: a newer one means that the database lost transactions.
    if (snapshot.kind !== 'read' || snapshot.snapshot.sequence <= database.sequence) {
      return { records: database.records, sequence: database.sequence, rewrite: false };
    }
    return planWithoutDatabase('it is older than its snapshot', snapshot, now);
  }
  if (database.kind === 'damaged') return planWithoutDatabase(database.reason, snapshot, now);
  if (snapshot.kind === 'absent') return { records: [], sequence: 1, rewrite: true };
  return planWithoutDatabase('it is missing', snapshot, now);
}

function planWithoutDatabase(why: string, result: SnapshotResult, now: number): RecoveryPlan {
  const reason = `the database cannot be used: ${why}`;
  if (result.kind !== 'read') {
    const also = result.kind === 'damaged' ? `; nor can the snapshot: ${result.reason}` : '; there is no snapshot';
    return { records: [], sequence: 1, rewrite: true, recovery: { recovered: 'empty', reason: `${reason}${also}` } };
  }
  const { records, sequence, writtenAt, lost } = result.snapshot;
  return {
    records,
    sequence,
    rewrite: true,
    recovery: { recovered: 'snapshot', reason, snapshotAgeMs: Math.max(0, now - writtenAt), lostRecords: lost },
  };
}
