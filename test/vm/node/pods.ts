// What a kubelet does with pods on a machine that was switched off in between.
import type { Test } from 'tap';
import type { CriClient } from '../../../agent/cli/quickstart/cri-client.ts';
import type { PodDescription } from '../../../agent/cli/quickstart/pod-requests.ts';
import { ContainerState, PodSandboxState } from '../../../proto/gen/wire/cri/v1/cri_pb.ts';
import type { Confinement } from '../../integration/lifecycle/facts.ts';
import { dataOf, ensureRunning, ensureSandbox } from '../../integration/lifecycle/pods.ts';
import { confinementOf, retrying } from './facts.ts';
import type { VmNode } from './node.ts';

/** Owns a CPU of one memory node, has its memory there, and keeps its layer. */
export const KEEPS_ALL = {
  'holdfast.dev/restart': 'reuse',
  'holdfast.dev/numa': 'required',
  'holdfast.dev/cpuset': 'exclusive',
};

/** What must be the same after whatever happens to the machine. */
export interface Kept {
  readonly pod: PodDescription;
  readonly data: string;
  readonly confinement: Confinement;
}

/** Runs the pod's container, or fails at the first call that fails. @returns its ID */
export async function runOnce({ kubelet }: VmNode, pod: PodDescription): Promise<string> {
  return await ensureRunning(kubelet, await ensureSandbox(kubelet, pod), 'next');
}

/** Runs the pod's container, as long as it takes. @returns its ID */
export async function keepRunning(node: VmNode, pod: PodDescription): Promise<string> {
  return await retrying(`${pod.name} to run`, () => runOnce(node, pod));
}

/**
 * What the kubelet does after a boot, for each pod: stops the old sandboxes, makes the next one and the container's next
 * attempt, and removes what is left of before.
 * @returns the ID of the container that runs now
 */
export async function recoverPod(node: VmNode, pod: PodDescription): Promise<string> {
  const { kubelet } = node;
  const old = await retrying('the sandboxes to be listed', () => kubelet.listPodSandboxes(pod.uid));
  for (const { id } of old) await retrying('the old sandbox to be stopped', () => kubelet.stopPodSandbox(id));
  const id = await keepRunning(node, pod);
  await removeRemains(kubelet, pod);
  return id;
}

async function removeRemains(kubelet: CriClient, { uid }: PodDescription): Promise<void> {
  await retrying('what is left of before to be removed', async () => {
    for (const { id, state } of await kubelet.listContainers(uid)) {
      if (state !== ContainerState.CONTAINER_RUNNING) await kubelet.removeContainer(id);
    }
    for (const { id, state } of await kubelet.listPodSandboxes(uid)) {
      if (state !== PodSandboxState.SANDBOX_READY) await kubelet.removePodSandbox(id);
    }
  });
}

/** What there is now; `started` is in the data once for each start. */
export async function lookAt(node: VmNode, pod: PodDescription, id: string): Promise<Kept> {
  return { pod, data: await dataOf(node.kubelet, id), confinement: await confinementOf(node, id) };
}

/** After one more start: the same data, deletions, CPUs and memory node. */
export async function assertKept(t: Test, node: VmNode, before: Kept, id: string): Promise<Kept> {
  const now = await lookAt(node, before.pod, id);
  t.equal(now.data, `started ${before.data}`, 'the data is there, and so is the deletion');
  t.strictSame(now.confinement, before.confinement, 'it has the same CPUs and the same memory node');
  return now;
}
