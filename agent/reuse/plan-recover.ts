// What to do about a change that was begun and not ended: complete it or undo it, by the facts. Pure.
import type { DirectoryIdentity } from '../host/directories.ts';
import { type KeepEntry, type MoveEntry, type Snapshot, sameSnapshot } from './layer.ts';

/** `wait`: it cannot be told now. `lost`: the data is in neither place. */
export type Recovery = 'complete' | 'undo' | 'lost' | 'wait';

export interface MoveFacts {
  /** What lies at both ends; undefined when nothing does. */
  readonly from: DirectoryIdentity | undefined;
  readonly to: DirectoryIdentity | undefined;
  /** Whether the runtime still has the two snapshots. */
  readonly fromExists: boolean;
  readonly toExists: boolean;
}

function isSame(a: DirectoryIdentity, b: DirectoryIdentity | undefined): boolean {
  return b !== undefined && a.inode === b.inode;
}

/**
 * The inode tells where the directory is, whatever is in it. The device number is not compared: it may change with a
 * reboot, and the two directories are on one filesystem.
 */
export function recoverMove({ facts }: MoveEntry, { from, to, fromExists, toExists }: MoveFacts): Recovery {
  if (isSame(facts, to)) return 'complete';
  if (isSame(facts, from)) return 'undo';
  // The runtime knows a snapshot whose directory is not there: its filesystem is not mounted yet, or is broken.
  if ((fromExists && from === undefined) || (toExists && to === undefined)) return 'wait';
  return 'lost';
}

export interface KeepFacts {
  readonly snapshotExists: boolean;
  /** The snapshot that the container names now; undefined when it is gone or names none. */
  readonly named: Snapshot | undefined;
}

export function recoverKeep({ kept }: KeepEntry, { snapshotExists, named }: KeepFacts): Recovery {
  if (!snapshotExists) return 'lost';
  return named !== undefined && sameSnapshot(named, kept.snapshot) ? 'undo' : 'complete';
}
