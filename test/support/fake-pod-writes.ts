// What an API server does when a pod's status is patched or a pod is deleted, UIDs compared as Kubernetes does it.
import type { FakePod } from './fake-api-server.ts';

export interface PodWrite {
  readonly method: string;
  readonly path: string;
  readonly body: string;
}

export interface WriteRefusal {
  readonly code: number;
  readonly reason: string;
  readonly message: string;
}

export type WriteResult =
  | { readonly refusal: WriteRefusal }
  | { readonly type: 'MODIFIED' | 'DELETED'; readonly pod: FakePod };

interface WriteBody {
  readonly metadata?: { readonly uid?: string };
  readonly preconditions?: { readonly uid?: string };
  readonly status?: FakePod['status'];
}

const POD_PATH = /^\/api\/v1\/namespaces\/([^/]+)\/pods\/([^/]+)(\/status)?$/;

/** @param pods - those that there are now */
export function writePod({ method, path, body }: PodWrite, pods: readonly FakePod[]): WriteResult {
  const [, namespace = '', name = '', status] = POD_PATH.exec(path) ?? [];
  const pod = pods.find(({ metadata }) => metadata.namespace === namespace && metadata.name === name);
  const isPatch = method === 'PATCH' && status !== undefined;
  if (pod === undefined || (!isPatch && (method !== 'DELETE' || status !== undefined))) {
    return { refusal: { code: 404, reason: 'NotFound', message: `pods "${name}" not found` } };
  }
  const asked = JSON.parse(body || '{}') as WriteBody;
  const uid = isPatch ? asked.metadata?.uid : asked.preconditions?.uid;
  const isOther = uid !== undefined && uid !== pod.metadata.uid;
  if (isOther && isPatch) {
    const message = `Pod "${name}" is invalid: metadata.uid: Invalid value: "${uid}": field is immutable`;
    return { refusal: { code: 422, reason: 'Invalid', message } };
  }
  if (isOther) {
    const why = `the UID in the precondition (${uid}) does not match the UID in record (${pod.metadata.uid})`;
    const message = `Operation cannot be fulfilled on Pod "${name}": ${why}`;
    return { refusal: { code: 409, reason: 'Conflict', message } };
  }
  if (!isPatch) return { type: 'DELETED', pod };
  const merged = { phase: 'Pending', ...pod.status, ...asked.status };
  return { type: 'MODIFIED', pod: { ...pod, status: merged } };
}
