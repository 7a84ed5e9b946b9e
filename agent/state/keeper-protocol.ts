// What the agent and its keeper process say to each other.
import type { Meta, StoredPair } from './lmdb-file.ts';
import type { RawChange } from './records.ts';

/** To the keeper. */
export interface WriteRequest {
  readonly kind: 'write';
  readonly changes: readonly RawChange[];
  readonly meta: Meta;
}

/**
 * From the keeper: `started` before it touches the file, then everything in the database and `ready` (or `unreadable`
 * for a reason that is not the file's), then one `written` or `refused` per request, in order.
 */
export type KeeperMessage =
  | { readonly kind: 'started' }
  | { readonly kind: 'unreadable'; readonly reason: string }
  | { readonly kind: 'content'; readonly pairs: readonly StoredPair[] }
  | { readonly kind: 'ready' }
  | { readonly kind: 'written' }
  | { readonly kind: 'refused'; readonly reason: string };
