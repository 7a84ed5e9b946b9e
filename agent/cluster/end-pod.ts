// Ends pods in the cluster on behalf of this node: their phase becomes Failed, or they are deleted. Their controllers
// then make new ones.
import type { ApiAccess, ApiCredentials } from './api-access.ts';
import { ApiError } from './api-error.ts';
import { type ApiRequest, type RequestLimits, send } from './api-request.ts';
import type { PodName } from './pod-source.ts';

export type EndPodBy = 'fail' | 'delete';

/**
 * `gone`: the cluster has no pod of this UID (any more). `refused`: the server answered, and does not do it for this
 * pod; another one may fare better.
 */
export type EndPodOutcome =
  | { readonly kind: 'ended' | 'gone' }
  | { readonly kind: 'refused'; readonly httpCode: number; readonly why: string };

/** An opened way to the cluster. */
export interface PodEnder {
  /**
   * Ends within {@link END_LIMITS}: the pod's steps wait for it.
   * @param message - why, for people; goes into the status of a pod that is failed
   * @throws HoldfastError when nobody answers, or the server answers nobody now
   */
  end(pod: PodName, message: string, signal: AbortSignal): Promise<EndPodOutcome>;
  close(): void;
}

/** `status.reason` of pods that are failed: what `kubectl get pods` shows. */
export const NO_ROOM_REASON = 'HoldfastNoRoom';

/** Together less than the five seconds that the cri-shim waits for the plan of a sandbox. */
export const END_LIMITS: RequestLimits = { answerMs: 3000, idleMs: 1000, totalMs: 1000 };

const RIGHTS = 'patch of pods/status, or delete of pods, is needed; see docs/giving-up.md';
/** Messages of statuses are for people; a longer one is cut. */
const MAX_MESSAGE = 1024;

/** Answers that are about the server or us, not about the pod: unauthorized, too many requests. */
const NOT_THE_POD = new Set([401, 429]);

function requestFor({ uid, namespace, name }: PodName, by: EndPodBy, message: string): ApiRequest {
  const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(name)}`;
  // The UID: another pod of this name, or the mirror of a static pod, is none of our business.
  if (by === 'delete') {
    const options = { kind: 'DeleteOptions', apiVersion: 'v1', preconditions: { uid } };
    return { method: 'DELETE', path, body: { type: 'application/json', text: JSON.stringify(options) } };
  }
  const status = { phase: 'Failed', reason: NO_ROOM_REASON, message: message.slice(0, MAX_MESSAGE) };
  const patch = { metadata: { uid }, status };
  return {
    method: 'PATCH',
    path: `${path}/status`,
    body: { type: 'application/merge-patch+json', text: JSON.stringify(patch) },
  };
}

/**
 * How the API server says that the UID is another one: 409 to a delete whose precondition does not hold, 422 to a patch
 * that would change an immutable field. 409 to a patch only says that others wrote at the same time.
 */
function isGone(httpCode: number, message: string, by: EndPodBy): boolean {
  if (httpCode === 404) return true;
  if (by === 'delete') return httpCode === 409;
  // A field's path follows a space or a bracket, which no pod's name has in it.
  return httpCode === 422 && /[ []metadata\.uid: /.test(message);
}

/** How the pod is ended, and how long that may take. */
export interface EndPodOptions {
  readonly by: EndPodBy;
  /** Default {@link END_LIMITS}. */
  readonly limits?: RequestLimits;
}

/** @throws HoldfastError as opening the access */
export async function openPodEnder(
  credentials: ApiCredentials,
  options: EndPodOptions,
  signal: AbortSignal,
): Promise<PodEnder> {
  const access = await credentials.open(signal);
  return {
    end: async (pod, message, ending) => {
      try {
        return await endPod(access, pod, { ...options, message }, ending);
      } catch (error) {
        if (error instanceof ApiError && error.kind === 'credentials') credentials.forget();
        throw error;
      }
    },
    close: () => access.close(),
  };
}

async function endPod(
  access: ApiAccess,
  pod: PodName,
  { by, limits = END_LIMITS, message }: EndPodOptions & { readonly message: string },
  signal: AbortSignal,
): Promise<EndPodOutcome> {
  try {
    const answer = await send(access, { ...requestFor(pod, by, message), rights: RIGHTS }, limits, signal);
    // It is the pod as it is now; nothing of it is needed.
    answer.destroy();
    return { kind: 'ended' };
  } catch (error) {
    const httpCode = error instanceof ApiError ? (error.httpCode ?? 0) : 0;
    if (!(error instanceof ApiError) || httpCode < 400 || httpCode >= 500 || NOT_THE_POD.has(httpCode)) throw error;
    if (isGone(httpCode, error.message, by)) return { kind: 'gone' };
    return { kind: 'refused', httpCode, why: error.message };
  }
}
