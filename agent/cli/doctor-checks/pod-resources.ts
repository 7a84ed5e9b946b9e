// Can those who know the kubelet's podresources API learn from ours what the kubelet does not know? Pure.
import type { Finding } from './check.ts';
import type { Answer } from './services.ts';

export interface PodResourcesFacts {
  readonly socket: string;
  /** How many pods our socket names. */
  readonly own: Answer<number>;
  /** Undefined where the configuration does not want it asked. */
  readonly kubeletSocket: string | undefined;
  /** How many pods the kubelet's own socket names; undefined where it was not asked. */
  readonly kubelet: Answer<number> | undefined;
}

const subject = 'pod resources';

export function checkPodResources({ socket, own, kubeletSocket, kubelet }: PodResourcesFacts): readonly Finding[] {
  if ('problem' in own) {
    return [
      {
        level: 'warning',
        subject,
        text: `nothing answers on ${socket}: ${own.problem}; exporters cannot learn which CPUs containers own`,
        remedy: 'systemctl start holdfast-agent',
      },
    ];
  }
  const named: Finding = { level: 'ok', subject, text: `${own.value} pods on ${socket}` };
  if (kubelet === undefined || 'value' in kubelet) return [named];
  return [
    named,
    {
      level: 'warning',
      subject: 'devices of pods',
      text: `the kubelet does not answer on ${kubeletSocket}: ${kubelet.problem}; devices are missing on ${socket}`,
      remedy: 'set podResources.kubelet to the socket below the root directory of the kubelet, or to "off"',
    },
  ];
}
