// Lists and watches this node's pods: what is asked of the API server, and what its answers say.
import { z } from 'zod';
import { HoldfastError } from '../../lib/errors.ts';
import type { ApiAccess } from './api-access.ts';
import { ApiError, apiErrorFrom } from './api-error.ts';
import { type ApiPod, readApiPod } from './api-pod.ts';
import { type PodEvent, type PodList, VIEW_LIMITS, withoutFacts } from './api-pod-view.ts';
import { get, parseJson, type RequestLimits, readLines, readText } from './api-request.ts';
import { factsAsText } from './facts-text.ts';

/** An answer, or a page of one: a node's 500 pods at 30 kB, doubled. */
const MAX_LIST_BYTES = 32 * 1024 * 1024;
/** The API server takes objects of up to 1.5 MiB; JSON makes them longer. */
const MAX_EVENT_BYTES = 8 * 1024 * 1024;
/** A page that is too large is asked for again with fewer pods. */
const PAGE_SIZES = [100, 20, 4] as const;
/** A list that never ends is a server that makes up its continue tokens. */
const MAX_PAGES = 1000;

export interface ListLimits {
  /** Items, of all pages together; a list with more is refused. */
  readonly items: number;
  /** Items that cannot be read; a list with more is refused. */
  readonly unreadable: number;
  /** Kept of all pods together; pods beyond it are known by name only. */
  readonly characters: number;
  /** For all pages, milliseconds; no page is begun later. */
  readonly totalMs: number;
}

/** No node has so many pods: a server that sends them must not cost us the memory. */
export const LIST_LIMITS: ListLimits = {
  items: 20_000,
  unreadable: 100,
  characters: VIEW_LIMITS.characters,
  totalMs: 10 * 60_000,
};

const listSchema = z.object({
  kind: z.literal('PodList'),
  metadata: z.object({ resourceVersion: z.string().min(1).max(64), continue: z.string().max(10_000).nullish() }),
  // Not looked into before it is counted. Go writes an empty list as null, too.
  items: z.custom<readonly unknown[]>(Array.isArray).nullable(),
});

const eventSchema = z.object({
  type: z.enum(['ADDED', 'MODIFIED', 'DELETED', 'BOOKMARK', 'ERROR']),
  object: z.unknown(),
});

const bookmarkSchema = z.object({ metadata: z.object({ resourceVersion: z.string().min(1).max(64) }) });

export interface PodsRequest {
  readonly access: ApiAccess;
  readonly nodeName: string;
  readonly limits: RequestLimits;
  readonly signal: AbortSignal;
}

/** What a watch tells. */
export type WatchedChange = PodEvent | { readonly type: 'BOOKMARK'; readonly resourceVersion: string };

/** The field selector is what the kubelet's own credentials are allowed; others' rights cannot be narrowed to a node. */
function podsPath(nodeName: string, parameters: Readonly<Record<string, string>>): string {
  return `/api/v1/pods?${new URLSearchParams({ fieldSelector: `spec.nodeName=${nodeName}`, ...parameters }).toString()}`;
}

/** Where a list is from: see {@link listPods}. */
type ListFrom = 'storage' | { readonly notOlderThan: string };

/**
 * All pods of the node.
 * @param from - `storage`: the newest state, in pages; else what the server has in its memory, not older than this
 *   version (`0`: anything)
 * @throws ApiError too-large when an answer, or the smallest page, is over 32 MiB
 */
export async function listPods(
  request: PodsRequest,
  from: ListFrom,
  limits: ListLimits = LIST_LIMITS,
): Promise<PodList> {
  const startedAt = performance.now();
  const gathered = new GatheredPods(limits);
  let resourceVersion: string | undefined;
  let token: string | undefined;
  let pageSize: number = PAGE_SIZES[0];
  for (let page = 0; page < MAX_PAGES; page += 1) {
    if (performance.now() - startedAt > limits.totalMs) {
      throw new HoldfastError('DEADLINE', `the API server's list does not end within ${limits.totalMs / 1000} s`);
    }
    try {
      const { metadata, items } = await listPage(request, pageParameters(from, token, pageSize));
      gathered.add(items ?? []);
      // Every page shows the state of the first one.
      resourceVersion ??= metadata.resourceVersion;
      token = metadata.continue ?? '';
    } catch (error) {
      const smaller = PAGE_SIZES.find((size) => size < pageSize);
      const isPaged = from === 'storage' || token !== undefined;
      if (!(error instanceof ApiError) || error.kind !== 'too-large' || !isPaged || smaller === undefined) throw error;
      pageSize = smaller;
      continue;
    }
    if (token === '') return { pods: gathered.pods, resourceVersion, complete: gathered.unreadable === 0 };
  }
  throw new HoldfastError('UNAVAILABLE', `the API server's list does not end after ${MAX_PAGES} pages`);
}

/** The pods of all pages, within limits. */
class GatheredPods {
  readonly pods: ApiPod[] = [];
  /** A pod without a name may be any of those that we know: nothing counts as missing. */
  unreadable = 0;
  readonly #limits: ListLimits;
  #items = 0;
  #characters = 0;

  constructor(limits: ListLimits) {
    this.#limits = limits;
  }

  /** @throws HoldfastError UNAVAILABLE when there are too many */
  add(items: readonly unknown[]): void {
    const { items: most, unreadable, characters } = this.#limits;
    this.#items += items.length;
    if (this.#items > most) throw new HoldfastError('UNAVAILABLE', `the API server names over ${most} pods`);
    for (const item of items) {
      try {
        const pod = readApiPod(item);
        this.#characters += factsAsText(pod.facts).length;
        this.pods.push(this.#characters <= characters ? pod : withoutFacts(pod));
      } catch (error) {
        if (!(error instanceof HoldfastError)) throw error;
        this.unreadable += 1;
        if (this.unreadable <= unreadable) continue;
        throw new HoldfastError('UNAVAILABLE', `the API server names over ${unreadable} pods that cannot be read`);
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

async function listPage(
  { access, nodeName, limits, signal }: PodsRequest,
  parameters: Readonly<Record<string, string>>,
): Promise<z.output<typeof listSchema>> {
  const body = await get(access, podsPath(nodeName, parameters), limits, signal);
  const parsed = listSchema.safeParse(parseJson(await readText(body, MAX_LIST_BYTES, limits)));
  if (parsed.success) return parsed.data;
  throw new HoldfastError('UNAVAILABLE', 'the API server answered something that is no list of pods');
}

/**
 * Changes since a version, until the server ends the watch.
 * @param timeoutSeconds - what the server is asked for
 * @param onOpen - called when the server has accepted the watch
 * @throws ApiError for an ERROR event, and for an event that cannot be read
 */
export async function* watchPods(
  { access, nodeName, limits, signal }: PodsRequest,
  {
    resourceVersion,
    timeoutSeconds,
    onOpen,
  }: {
    readonly resourceVersion: string;
    readonly timeoutSeconds: number;
    readonly onOpen: () => void;
  },
): AsyncGenerator<WatchedChange> {
  const parameters = {
    watch: 'true',
    allowWatchBookmarks: 'true',
    resourceVersion,
    timeoutSeconds: String(timeoutSeconds),
  };
  const body = await get(access, podsPath(nodeName, parameters), limits, signal);
  onOpen();
  for await (const line of readLines(body, MAX_EVENT_BYTES, limits)) yield readChange(line);
}

function readChange(line: string): WatchedChange {
  try {
    const { type, object } = eventSchema.parse(parseJson(line));
    if (type === 'ERROR') throw apiErrorFrom(undefined, object);
    if (type === 'BOOKMARK') {
      return { type, resourceVersion: bookmarkSchema.parse(object).metadata.resourceVersion };
    }
    return { type, pod: readApiPod(object) };
  } catch (error) {
    if (error instanceof ApiError) throw error;
    // The list that follows shows what this event should have told; asked again, the same event would come again.
    throw new ApiError('expired', 'the API server sent a watch event that cannot be read');
  }
}
