// The pods of quickstart, for a host with a given number of CPUs. Pure.
import { bytes, milliCpu } from '../../model/quantity.ts';
import { APP_IMAGE, IMAGE_MARKER } from './images.ts';
import type { PodDescription } from './pod-requests.ts';

const MEMORY = bytes(64 * 1024 * 1024);
const NAMESPACE = 'default';

export interface QuickstartPods {
  /** Keeps its data, its memory node and, where there are CPUs enough, its CPUs. */
  readonly web: PodDescription;
  /** Asks for nothing. */
  readonly neighbour: PodDescription;
  /** Asks for every CPU for itself: the shared pool would be empty. */
  readonly greedy: PodDescription;
  /** CPUs that `web` gets for itself; 0 where it would have to take the only one. */
  readonly exclusiveCpus: number;
}

/**
 * Appends a line at each start, so that the file tells how often the container began; never to a file of the host, where
 * containers could not be isolated (runc in a chroot).
 */
const WEB_COMMAND = `[ -e ${IMAGE_MARKER} ] || exit 1; echo "attempt $ATTEMPT began" >> /var/history; while true; do sleep 1; done`;

/** @param usableCpus - online CPUs that the agent may hand out */
export function quickstartPods(usableCpus: number): QuickstartPods {
  const exclusiveCpus = usableCpus >= 4 ? 2 : usableCpus - 1;
  const exclusive = exclusiveCpus > 0;
  return {
    exclusiveCpus,
    web: {
      name: 'web-0',
      namespace: NAMESPACE,
      uid: '11111111-2222-4333-8444-000000000001',
      annotations: {
        'holdfast.dev/restart': 'reuse',
        'holdfast.dev/numa': 'required',
        ...(exclusive && { 'holdfast.dev/cpuset': 'exclusive' }),
      },
      containers: [
        {
          name: 'app',
          image: APP_IMAGE,
          command: ['/bin/sh', '-c', WEB_COMMAND],
          cpuLimit: milliCpu(exclusive ? exclusiveCpus * 1000 : 500),
          memoryLimit: MEMORY,
        },
      ],
    },
    neighbour: {
      name: 'neighbour',
      namespace: NAMESPACE,
      uid: '11111111-2222-4333-8444-000000000002',
      containers: [
        {
          name: 'app',
          image: APP_IMAGE,
          command: ['/bin/sh', '-c', 'while true; do sleep 1; done'],
          cpuRequest: milliCpu(100),
          memoryLimit: MEMORY,
        },
      ],
    },
    greedy: {
      name: 'greedy',
      namespace: NAMESPACE,
      uid: '11111111-2222-4333-8444-000000000003',
      annotations: { 'holdfast.dev/cpuset': 'exclusive', 'holdfast.dev/numa': 'required' },
      containers: [{ name: 'app', image: APP_IMAGE, cpuLimit: milliCpu(usableCpus * 1000), memoryLimit: MEMORY }],
    },
  };
}
