// Moves a layer from one snapshot to another: one rename, whatever its size. Journalled; after a crash the inode tells
// on which side the layer is.
import { HoldfastError } from '../../lib/errors.ts';
import type { MoveResult } from '../host/directories.ts';
import type { ReuseContext } from './context.ts';
import type { ContainerLayers, Kept, MoveEntry } from './layer.ts';

export interface LayerMove {
  readonly from: MoveEntry['from'];
  readonly to: MoveEntry['to'];
  /** The record once the layer has moved. */
  readonly after: ContainerLayers;
  /** The kept snapshot that is left empty. */
  readonly emptied: Kept | undefined;
}

/**
 * Carries the move out.
 * @returns what hindered it, with everything as it was before
 * @throws HoldfastError HOST_FAILURE when the disk fails; the journal entry then stays open, and resolving it tells how
 * far it came
 */
export async function moveLayer(
  context: ReuseContext,
  key: string,
  { from, to, after, emptied }: LayerMove,
): Promise<MoveResult> {
  const { book, directories, reach } = context;
  const facts = await directories.factsOf(from.upperdir);
  if (facts === undefined) {
    throw new HoldfastError('HOST_FAILURE', `the writable layer ${from.upperdir} is not a directory`);
  }
  const entry: MoveEntry = { kind: 'move', from, to, facts, after, ...(emptied === undefined ? {} : { emptied }) };
  await book.write(key, { entry });
  await reach('reuse.move.journalled');
  const result = await directories.moveOver(from.upperdir, to.upperdir);
  if (result !== 'moved') {
    await book.write(key, { entry: 'closed' });
    return result;
  }
  await reach('reuse.move.renamed');
  await completeMove(context, key, entry);
  return result;
}

/** What follows the rename; done again as often as a crash comes between. */
export async function completeMove(context: ReuseContext, key: string, entry: MoveEntry): Promise<void> {
  const { book, directories, reach } = context;
  const { from, to, facts, after, emptied } = entry;
  // The old container still exists and is removed normally, which needs its directory.
  await directories.makeLike(from.upperdir, facts);
  await reach('reuse.move.recreated');
  await directories.syncParents(from.upperdir, to.upperdir);
  await reach('reuse.move.synced');
  await book.write(key, { layers: after, entry: 'closed', ...(emptied === undefined ? {} : { dropped: [emptied] }) });
  await reach('reuse.move.committed');
}
