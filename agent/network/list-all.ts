// All of a folder, however much it is: page by page, so that no answer of the store is without a limit.
import type { LeaseStore, ListedEntry, StoreKey } from './lease-store.ts';

const PAGE = 256;

/** In the order of the keys. What changes between two pages may be in it or not. */
export async function* listAll(
  store: Pick<LeaseStore, 'list'>,
  folder: string,
  signal: AbortSignal,
): AsyncGenerator<ListedEntry, void> {
  let after: StoreKey | undefined;
  for (;;) {
    const page = await store.list(folder, { limit: PAGE, ...(after && { after }) }, signal);
    yield* page;
    after = page.at(-1)?.key;
    if (page.length < PAGE) return;
  }
}
