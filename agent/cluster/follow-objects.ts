// Keeps a view of objects of one kind up to date: list, watch, and after whatever happens the step that is planned next.
import { setTimeout as delay } from 'node:timers/promises';
import { describeError } from '../../lib/errors.ts';
import type { ApiAccess, ApiCredentials } from './api-access.ts';
import { ApiError } from './api-error.ts';
import {
  type ListLimits,
  listObjects,
  type ObjectEvent,
  type ObjectKind,
  type ObjectList,
  type ObjectsRequest,
  type WatchedObject,
  watchObjects,
} from './api-objects.ts';
import { FIRST_STEP, type FollowState, type FollowTimes, planFollow, type StepEnd } from './plan-follow.ts';
import { isOlder } from './resource-version.ts';

/** Counts what happened. */
export interface FollowObserver {
  onStep(request: FollowState['step'], end: StepEnd['kind']): void;
  onEvent(type: WatchedObject<unknown>['type']): void;
}

export interface ApiTimes extends FollowTimes {
  /** Until an answer begins. */
  readonly answerMs: number;
  /** For a page of a list, and between two parts of it. */
  readonly listMs: number;
  /** A watch that is silent for so long is given up. The server sends a bookmark about every minute. */
  readonly silenceMs: number;
  /** What a watch asks the server for; up to twice as long, so that not all nodes begin anew at the same time. */
  readonly watchMs: number;
}

export const API_TIMES: ApiTimes = {
  pauseMs: 1000,
  longestPauseMs: 30_000,
  stableMs: 10_000,
  relistMs: 30 * 60_000,
  answerMs: 30_000,
  listMs: 60_000,
  silenceMs: 180_000,
  watchMs: 300_000,
};

/** What is known of the objects. */
export interface ObjectView<Item> {
  /** The newest state that was seen; undefined before the first list. */
  readonly resourceVersion: string | undefined;
  /** Of which cluster the last list was. */
  readonly origin: string | undefined;
  /** @returns whether anything changed */
  list(list: ObjectList<Item> & { readonly origin: string }): boolean;
  /** @returns whether anything changed */
  apply(event: ObjectEvent<Item>): boolean;
  /** What a bookmark says: everything up to this state was told. */
  advance(resourceVersion: string): void;
}

export interface FollowOptions<Item> {
  readonly credentials: ApiCredentials;
  readonly kind: ObjectKind<Item>;
  readonly limits: ListLimits;
  readonly view: ObjectView<Item>;
  readonly times: ApiTimes;
  readonly observer: FollowObserver;
  readonly signal: AbortSignal;
  /** The server answered, with or without news. */
  readonly onAlive: (server: string) => void;
  readonly onChange: () => void;
  /** A step failed; why, for people. Ended by {@link onAlive}. */
  readonly onProblem: (problem: string) => void;
}

/** Runs until the signal is aborted; throws nothing. */
export async function followObjects<Item>(options: FollowOptions<Item>): Promise<void> {
  const { times, observer, signal } = options;
  let state = FIRST_STEP;
  let listedAt = performance.now();
  while (!signal.aborted) {
    const startedAt = performance.now();
    const end = await runStep(options, state);
    if (signal.aborted) return;
    const now = performance.now();
    if (end.kind === 'listed') listedAt = now;
    observer.onStep(state.step, end.kind);
    const facts = { lastedMs: now - startedAt, sinceListMs: now - listedAt, random: Math.random() };
    const next = planFollow(state, end, facts, times);
    state = next.state;
    await pause(next.pauseMs, signal);
  }
}

async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  try {
    await delay(milliseconds, undefined, { signal, ref: false });
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

async function runStep<Item>(options: FollowOptions<Item>, state: FollowState): Promise<StepEnd> {
  const { credentials, signal, onProblem } = options;
  let access: ApiAccess | undefined;
  try {
    access = await credentials.open(signal);
    return state.step === 'list' ? await list(options, access, state.listFrom) : await watch(options, access);
  } catch (error) {
    if (signal.aborted) return { kind: 'failed' };
    if (error instanceof ApiError && error.kind === 'credentials') credentials.forget();
    const end = endOf(error);
    // A version that is forgotten is in the order of things, and the list that follows mends it.
    if (end.kind !== 'expired') onProblem(describeError(error));
    return end;
  } finally {
    access?.close();
  }
}

function endOf(error: unknown): StepEnd {
  if (!(error instanceof ApiError)) return { kind: 'failed' };
  const { kind, retryAfterMs } = error;
  if (kind === 'expired' || kind === 'behind' || kind === 'too-large') return { kind };
  return { kind: 'failed', ...(retryAfterMs === undefined ? {} : { retryAfterMs }) };
}

function requestOf<Item>({ times, signal }: FollowOptions<Item>, access: ApiAccess): ObjectsRequest {
  const limits = { answerMs: times.answerMs, idleMs: times.listMs, totalMs: times.listMs };
  return { access, limits, signal };
}

async function list<Item>(
  options: FollowOptions<Item>,
  access: ApiAccess,
  listFrom: FollowState['listFrom'],
): Promise<StepEnd> {
  const { kind, limits, view, onAlive, onChange } = options;
  const { origin } = access;
  const seen = origin === view.origin ? view.resourceVersion : undefined;
  const from = listFrom === 'storage' ? listFrom : { notOlderThan: seen ?? '0' };
  const listed = await listObjects(requestOf(options, access), kind, from, limits);
  const changed = view.list({ ...listed, origin });
  onAlive(access.server);
  if (changed) onChange();
  return { kind: 'listed' };
}

async function watch<Item>(options: FollowOptions<Item>, access: ApiAccess): Promise<StepEnd> {
  const { kind, view, times, observer, onAlive, onChange } = options;
  const resourceVersion = view.resourceVersion;
  // The versions of another cluster mean nothing here, and its events nothing for the pods that were seen.
  if (resourceVersion === undefined || access.origin !== view.origin) return { kind: 'expired' };
  const watchMs = times.watchMs * (1 + Math.random());
  const request = requestOf(options, access);
  const limits = { answerMs: times.answerMs, idleMs: times.silenceMs, totalMs: watchMs + times.silenceMs };
  const changes = watchObjects({ ...request, limits }, kind, {
    resourceVersion,
    timeoutSeconds: Math.max(1, Math.ceil(watchMs / 1000)),
    onOpen: () => onAlive(access.server),
  });
  for await (const change of changes) {
    observer.onEvent(change.type);
    onAlive(access.server);
    if (change.type !== 'BOOKMARK') {
      if (view.apply(change)) onChange();
      continue;
    }
    // Only a server with another history goes back: one that was restored from a backup.
    if (isOlder(change.resourceVersion, resourceVersion) === true) {
      throw new ApiError('behind', 'the API server has gone back to an older state; was it restored from a backup?');
    }
    view.advance(change.resourceVersion);
  }
  return { kind: 'watched' };
}
