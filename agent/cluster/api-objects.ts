// Lists and watches objects of one kind: what is asked of the API server, and what its answers say.
import { z } from 'zod';
import { HoldfastError } from '../../lib/errors.ts';
import type { ApiAccess } from './api-access.ts';
import { ApiError, apiErrorFrom } from './api-error.ts';
import { get, parseJson, type RequestLimits, readLines, readText } from './api-request.ts';

/** An answer, or a page of one: 500 pods at 30 kB, doubled. */
const MAX_LIST_BYTES = 32 * 1024 * 1024;
/** The API server takes objects of up to 1.5 MiB; JSON makes them longer. */
const MAX_EVENT_BYTES = 8 * 1024 * 1024;

export interface ListLimits {
  /** Items, of all pages together; a list with more is refused. A page without any counts as one. */
  readonly items: number;
  /** Items that cannot be read; a list with more is refused. */
  readonly unreadable: number;
  /** Kept of all items together; those beyond it are lightened. */
  readonly characters: number;
  /** For all pages, milliseconds; no page is begun later. */
  readonly totalMs: number;
}

/** What is listed and watched. */
export interface ObjectKind<Item> {
  /** Below the server: `/api/v1/pods`. */
  readonly path: string;
  /** Selectors. */
  readonly parameters: Readonly<Record<string, string>>;
  /** Of the list: `PodList`. */
  readonly listKind: string;
  /** For messages: `pods`. */
  readonly what: string;
  /** Items per page, and what is tried when a page is too large. */
  readonly pageSizes: readonly [number, ...number[]];
  /** @throws HoldfastError when the object cannot be read; its message has nothing of the object in it */
  readonly read: (value: unknown) => Item;
  /** Characters that the item takes. */
  readonly weigh: (item: Item) => number;
  /** The item without what makes it heavy. */
  readonly lighten: (item: Item) => Item;
}

export interface ObjectList<Item> {
  readonly items: readonly Item[];
  /** The state of the cluster that the list shows. */
  readonly resourceVersion: string;
  /** No page is missing, and every item could be read. */
  readonly complete: boolean;
}

export interface ObjectEvent<Item> {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly item: Item;
}

const listSchema = z.object({
  kind: z.string(),
  metadata: z.object({ resourceVersion: z.string().min(1).max(64), continue: z.string().max(10_000).nullish() }),
  // Not looked into before it is counted. Go writes an empty list as null, too.
  items: z.custom<readonly unknown[]>(Array.isArray).nullable(),
});

const eventSchema = z.object({
  type: z.enum(['ADDED', 'MODIFIED', 'DELETED', 'BOOKMARK', 'ERROR']),
  object: z.unknown(),
});

const bookmarkSchema = z.object({ metadata: z.object({ resourceVersion: z.string().min(1).max(64) }) });

export interface ObjectsRequest {
  readonly access: ApiAccess;
  readonly limits: RequestLimits;
  readonly signal: AbortSignal;
}

/** What a watch tells. */
export type WatchedObject<Item> = ObjectEvent<Item> | { readonly type: 'BOOKMARK'; readonly resourceVersion: string };

function pathOf<Item>(kind: ObjectKind<Item>, parameters: Readonly<Record<string, string>>): string {
  return `${kind.path}?${new URLSearchParams({ ...kind.parameters, ...parameters }).toString()}`;
}

/** Where a list is from: see {@link listObjects}. */
export type ListFrom = 'storage' | { readonly notOlderThan: string };

/**
 * All objects of the kind.
 * @param from - `storage`: the newest state, in pages; else what the server has in its memory, not older than this
 *   version (`0`: anything)
 * @throws ApiError too-large when an answer, or the smallest page, is over 32 MiB
 */
export async function listObjects<Item>(
  request: ObjectsRequest,
  kind: ObjectKind<Item>,
  from: ListFrom,
  limits: ListLimits,
): Promise<ObjectList<Item>> {
  const startedAt = performance.now();
  const gathered = new GatheredItems(kind, limits);
  let resourceVersion: string | undefined;
  let token: string | undefined;
  let pageSize = kind.pageSizes[0];
  // A list that never ends is a server that makes up its continue tokens: the limits end it.
  for (;;) {
    if (performance.now() - startedAt > limits.totalMs) {
      throw new HoldfastError('DEADLINE', `the API server's list does not end within ${limits.totalMs / 1000} s`);
    }
    try {
      const { metadata, items } = await listPage(request, kind, pageParameters(from, token, pageSize));
      gathered.add(items ?? []);
      // Every page shows the state of the first one.
      resourceVersion ??= metadata.resourceVersion;
      token = metadata.continue ?? '';
    } catch (error) {
      const smaller = kind.pageSizes.find((size) => size < pageSize);
      const isPaged = from === 'storage' || token !== undefined;
      if (!(error instanceof ApiError) || error.kind !== 'too-large' || !isPaged || smaller === undefined) throw error;
      pageSize = smaller;
      continue;
    }
    if (token === '') return { items: gathered.items, resourceVersion, complete: gathered.unreadable === 0 };
  }
}

/** The items of all pages, within limits. */
class GatheredItems<Item> {
  readonly items: Item[] = [];
  /** One without a name may be any of those that we know: nothing counts as missing. */
  unreadable = 0;
  readonly #kind: ObjectKind<Item>;
  readonly #limits: ListLimits;
  #count = 0;
  #characters = 0;

  constructor(kind: ObjectKind<Item>, limits: ListLimits) {
    this.#kind = kind;
    this.#limits = limits;
  }

  /** @throws HoldfastError UNAVAILABLE when there are too many */
  add(values: readonly unknown[]): void {
    const { items: most, unreadable, characters } = this.#limits;
    const { what, read, weigh, lighten } = this.#kind;
    this.#count += Math.max(1, values.length);
    if (this.#count > most) throw new HoldfastError('UNAVAILABLE', `the API server names over ${most} ${what}`);
    for (const value of values) {
      try {
        const item = read(value);
        this.#characters += weigh(item);
        this.items.push(this.#characters <= characters ? item : lighten(item));
      } catch (error) {
        if (!(error instanceof HoldfastError)) throw error;
        this.unreadable += 1;
        if (this.unreadable <= unreadable) continue;
        throw new HoldfastError('UNAVAILABLE', `the API server names over ${unreadable} ${what} that cannot be read`);
      }
    }
  }
}

function pageParameters(from: ListFrom, token: string | undefined, pageSize: number): Readonly<Record<string, string>> {
  if (token !== undefined) return { limit: String(pageSize), continue: token };
  // With a limit the server would not answer from its memory.
  if (from === 'storage') return { limit: String(pageSize) };
  return { resourceVersion: from.notOlderThan, resourceVersionMatch: 'NotOlderThan' };
}

async function listPage<Item>(
  { access, limits, signal }: ObjectsRequest,
  kind: ObjectKind<Item>,
  parameters: Readonly<Record<string, string>>,
): Promise<z.output<typeof listSchema>> {
  const body = await get(access, pathOf(kind, parameters), limits, signal);
  const parsed = listSchema.safeParse(parseJson(await readText(body, MAX_LIST_BYTES, limits)));
  if (parsed.success && parsed.data.kind === kind.listKind) return parsed.data;
  throw new HoldfastError('UNAVAILABLE', `the API server answered something that is no list of ${kind.what}`);
}

/**
 * Changes since a version, until the server ends the watch.
 * @param timeoutSeconds - what the server is asked for
 * @param onOpen - called when the server has accepted the watch
 * @throws ApiError for an ERROR event, and for an event that cannot be read
 */
export async function* watchObjects<Item>(
  { access, limits, signal }: ObjectsRequest,
  kind: ObjectKind<Item>,
  {
    resourceVersion,
    timeoutSeconds,
    onOpen,
  }: {
    readonly resourceVersion: string;
    readonly timeoutSeconds: number;
    readonly onOpen: () => void;
  },
): AsyncGenerator<WatchedObject<Item>> {
  const parameters = {
    watch: 'true',
    allowWatchBookmarks: 'true',
    resourceVersion,
    timeoutSeconds: String(timeoutSeconds),
  };
  const body = await get(access, pathOf(kind, parameters), limits, signal);
  onOpen();
  for await (const line of readLines(body, MAX_EVENT_BYTES, limits)) yield readChange(kind, line);
}

function readChange<Item>(kind: ObjectKind<Item>, line: string): WatchedObject<Item> {
  try {
    const { type, object } = eventSchema.parse(parseJson(line));
    if (type === 'ERROR') throw apiErrorFrom(undefined, object);
    if (type === 'BOOKMARK') {
      return { type, resourceVersion: bookmarkSchema.parse(object).metadata.resourceVersion };
    }
    return { type, item: kind.read(object) };
  } catch (error) {
    if (error instanceof ApiError) throw error;
    // The list that follows shows what this event should have told; asked again, the same event would come again.
    throw new ApiError('expired', 'the API server sent a watch event that cannot be read');
  }
}
