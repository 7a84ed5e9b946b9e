// Lists and watches this node's pods: what is asked of the API server, and what its answers say.
import { z } from 'zod';
import { HoldfastError } from '../../lib/errors.ts';
import type { ApiAccess } from './api-access.ts';
import { ApiError, apiErrorFrom } from './api-error.ts';
import { type ApiPod, readApiPod } from './api-pod.ts';
import type { PodEvent, PodList } from './api-pod-view.ts';
import { get, parseJson, type RequestLimits, readLines, readText } from './api-request.ts';

/** An answer, or a page of one: a node's 500 pods at 30 kB, doubled. */
const MAX_LIST_BYTES = 32 * 1024 * 1024;
/** The API server takes objects of up to 1.5 MiB; JSON makes them longer. */
const MAX_EVENT_BYTES = 8 * 1024 * 1024;
const PAGE_SIZE = 100;
/** A list that never ends is a server that makes up its continue tokens. */
const MAX_PAGES = 1000;

const listSchema = z.object({
  kind: z.literal('PodList'),
  metadata: z.object({ resourceVersion: z.string().min(1).max(64), continue: z.string().max(10_000).nullish() }),
  items: z.array(z.unknown()),
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

/**
 * All pods of the node.
 * @param from - `storage`: the newest state, in pages; else what the server has in its memory, not older than this
 *   version (`0`: anything)
 */
export async function listPods(
  request: PodsRequest,
  from: 'storage' | { readonly notOlderThan: string },
): Promise<PodList> {
  const pods: ApiPod[] = [];
  let complete = true;
  let resourceVersion: string | undefined;
  let token: string | undefined;
  for (let page = 0; page < MAX_PAGES; page += 1) {
    const { metadata, items } = await listPage(request, pageParameters(from, token));
    for (const item of items) {
      try {
        pods.push(readApiPod(item));
      } catch (error) {
        if (!(error instanceof HoldfastError)) throw error;
        // A pod without a name may be any of those that we know: nothing counts as missing.
        complete = false;
      }
    }
    // Every page shows the state of the first one.
    resourceVersion ??= metadata.resourceVersion;
    token = metadata.continue ?? '';
    if (token === '') return { pods, resourceVersion, complete };
  }
  throw new HoldfastError('UNAVAILABLE', `the API server's list does not end after ${MAX_PAGES} pages`);
}

function pageParameters(
  from: 'storage' | { readonly notOlderThan: string },
  token: string | undefined,
): Readonly<Record<string, string>> {
  if (token !== undefined) return { limit: String(PAGE_SIZE), continue: token };
  // With a limit the server would not answer from its memory.
  if (from === 'storage') return { limit: String(PAGE_SIZE) };
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
