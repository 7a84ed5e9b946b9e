// One look at the API server, for `holdfast doctor`.
import type { ApiCredentials } from './api-access.ts';
import { listPods } from './api-pods.ts';
import { API_TIMES } from './follow-objects.ts';

export interface ApiProbe {
  readonly server: string;
  /** How many pods it names for the node. */
  readonly pods: number;
}

/** @throws what opening the access or listing throws */
export async function probeApi(credentials: ApiCredentials, nodeName: string, signal: AbortSignal): Promise<ApiProbe> {
  const access = await credentials.open(signal);
  try {
    const { answerMs, listMs } = API_TIMES;
    const limits = { answerMs, idleMs: listMs, totalMs: listMs };
    const { pods } = await listPods({ access, nodeName, limits, signal }, { notOlderThan: '0' });
    return { server: access.server, pods: pods.length };
  } finally {
    access.close();
  }
}
