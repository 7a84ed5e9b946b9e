// Ends a pod in the cluster on behalf of this node: its phase becomes Failed, or it is deleted. Its controller then makes
// a new one.

import type { ApiCredentials } from './api-access.ts';
import { ApiError } from './api-error.ts';
import { type ApiRequest, readText, send } from './api-request.ts';
import { API_TIMES } from './follow-objects.ts';
import type { PodName } from './pod-source.ts';

export type EndPodBy = 'fail' | 'delete';

/** `status.reason` of pods that are failed: what `kubectl get pods` shows. */
export const NO_ROOM_REASON = 'HoldfastNoRoom';

const RIGHTS = 'patch of pods/status, or delete of pods, is needed; see docs/giving-up.md';
const MAX_ANSWER_BYTES = 8 * 1024 * 1024;
/** Messages of statuses are for people; a longer one is cut. */
const MAX_MESSAGE = 1024;

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
 * @param message - why, for people; goes into the status of a pod that is failed
 * @returns false when the cluster has no such pod (any more)
 * @throws HoldfastError as opening the access; ApiError when the rights are missing or the server has another reason
 */
export async function endPod(
  credentials: ApiCredentials,
  pod: PodName,
  { by, message }: { readonly by: EndPodBy; readonly message: string },
  signal: AbortSignal,
): Promise<boolean> {
  const access = await credentials.open(signal);
  try {
    const { answerMs, listMs } = API_TIMES;
    const limits = { answerMs, idleMs: listMs, totalMs: listMs };
    const answer = await send(access, { ...requestFor(pod, by, message), rights: RIGHTS }, limits, signal);
    await readText(answer, MAX_ANSWER_BYTES, limits);
    return true;
  } catch (error) {
    if (error instanceof ApiError && (error.httpCode === 404 || error.httpCode === 409)) return false;
    throw error;
  } finally {
    access.close();
  }
}
