// When a pod's holdings end. A removed sandbox is not enough: after a reboot the old one goes while the pod lives.
import type { PodPhase } from '../cluster/pod-source.ts';
import type { PodUid } from '../model/ids.ts';
import type { HoldingsEnd } from './feature.ts';

export interface HeldPod {
  readonly uid: PodUid;
  readonly phase: PodPhase;
  /** A container of the pod runs now; its CPUs must not be given to anyone else. */
  readonly running: boolean;
  /** Milliseconds since the epoch; undefined while the pod has a sandbox. */
  readonly withoutSandboxSince: number | undefined;
}

export interface EndedPod {
  readonly uid: PodUid;
  readonly why: HoldingsEnd;
}

/**
 * @param now - milliseconds since the epoch
 * @param gracePeriodMs - how long a pod without a sandbox keeps what it has; the kubelet may be making the next one
 * @returns the pods whose holdings end now, and why
 */
export function planHoldings(pods: readonly HeldPod[], now: number, gracePeriodMs: number): readonly EndedPod[] {
  return pods.flatMap(({ uid, phase, running, withoutSandboxSince }): readonly EndedPod[] => {
    // A pod deleted by force is gone from the API before its processes are.
    if (running) return [];
    if (phase === 'deleted' || phase === 'finished') return [{ uid, why: phase }];
    // The platform still wants it: it may be waiting for its image, its volumes or a kubelet.
    if (phase === 'present') return [];
    const since = withoutSandboxSince;
    if (since === undefined || now - since < gracePeriodMs) return [];
    return [{ uid, why: 'no-sandbox' }];
  });
}
