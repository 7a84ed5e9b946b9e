// The pods of these tests, and what a kubelet does with them.
import type { CriClient, RunningPod } from '../../../agent/cli/quickstart/cri-client.ts';
import { APP_IMAGE } from '../../../agent/cli/quickstart/images.ts';
import type { ContainerDescription, PodDescription } from '../../../agent/cli/quickstart/pod-requests.ts';
import { bytes, milliCpu } from '../../../agent/model/quantity.ts';
import { type Container, ContainerState, PodSandboxState } from '../../../proto/gen/wire/cri/v1/cri_pb.ts';
import { MANY_CPUS } from './harness.ts';

/** Every start leaves a line in the container's own file system. */
export const HISTORY = '/root/history';
const APP = ['/bin/sh', '-c', `echo started >> ${HISTORY}; sleep 100000`];

/** Keeps its data, its CPU where the host has two, and its memory node. */
export const KEEPS_ALL: Readonly<Record<string, string>> = {
  'holdfast.dev/restart': 'reuse',
  'holdfast.dev/numa': 'required',
  ...(MANY_CPUS ? { 'holdfast.dev/cpuset': 'exclusive' } : {}),
};

let count = 0;

/** A pod with one container, `app`: one CPU and 64 MiB, Guaranteed. */
export function somePod(
  annotations: PodDescription['annotations'] = {},
  container: Partial<ContainerDescription> = {},
  pod: Partial<PodDescription> = {},
): PodDescription {
  count += 1;
  const described = {
    name: 'app',
    image: APP_IMAGE,
    cpuLimit: milliCpu(1000),
    memoryLimit: bytes(64 * 1024 * 1024),
    command: APP,
    ...container,
  };
  return {
    name: `pod-${count}`,
    namespace: 'default',
    uid: `uid-${process.pid}-${count}`,
    annotations: annotations ?? {},
    containers: [described],
    ...pod,
  };
}

/** A default pod that asks for little. */
export function neighbour(): PodDescription {
  return somePod({}, { cpuLimit: milliCpu(100), memoryLimit: bytes(16 * 1024 * 1024) });
}

export async function containersOf(kubelet: CriClient, uid: string, name = 'app'): Promise<readonly Container[]> {
  return (await kubelet.listContainers(uid)).filter(({ metadata }) => metadata?.name === name);
}

/** The pod's ready sandbox, made when there is none; its attempt is one above those that the runtime lists. */
export async function ensureSandbox(kubelet: CriClient, pod: PodDescription): Promise<RunningPod> {
  const sandboxes = await kubelet.listPodSandboxes(pod.uid);
  const ready = sandboxes.find(({ state }) => state === PodSandboxState.SANDBOX_READY);
  if (ready !== undefined) return { ...pod, sandboxId: ready.id, sandboxAttempt: ready.metadata?.attempt ?? 0 };
  return await kubelet.runPod(pod, Math.max(-1, ...sandboxes.map(({ metadata }) => metadata?.attempt ?? 0)) + 1);
}

/**
 * Makes the container run: the running one, or the next attempt.
 * @param lost - what the kubelet does about a container that was created and never started: it has not heard of it and
 *   uses its attempt again, or has listed it and takes the next
 */
export async function ensureRunning(kubelet: CriClient, pod: RunningPod, lost: 'again' | 'next'): Promise<string> {
  const known = await containersOf(kubelet, pod.uid);
  const running = known.find(({ state }) => state === ContainerState.CONTAINER_RUNNING);
  if (running !== undefined) return running.id;
  const seen = known.filter(({ state }) => lost === 'next' || state !== ContainerState.CONTAINER_CREATED);
  const attempt = Math.max(-1, ...seen.map(({ metadata }) => metadata?.attempt ?? 0)) + 1;
  const id = await kubelet.createContainer(pod, 'app', attempt);
  await kubelet.startContainer(id);
  return id;
}

/** What the container's own file system holds: its starts, and whether the deletion of a file of the image lasted. */
export async function dataOf(kubelet: CriClient, id: string): Promise<string> {
  const script = `cat ${HISTORY}; cat /root/note 2>/dev/null; test -e /etc/generation && echo undeleted; true`;
  const { stdout, stderr, exitCode } = await kubelet.exec(id, '/bin/sh', '-c', script);
  if (exitCode !== 0) throw new Error(`the data of ${id} cannot be read: ${stderr}`);
  return stdout.trim().replaceAll('\n', ' ');
}

/** Writes a note and deletes a file of the image. */
export async function leaveNote(kubelet: CriClient, id: string): Promise<void> {
  const { exitCode } = await kubelet.exec(id, '/bin/sh', '-c', 'echo noted > /root/note && rm /etc/generation');
  if (exitCode !== 0) throw new Error(`container ${id} cannot write into its own file system`);
}

/** Kills the container's process, as an out-of-memory kill would; resolves when the runtime has seen it. */
export async function crash(
  kubelet: CriClient,
  id: string,
  until: (what: string, holds: () => Promise<boolean>) => Promise<void>,
): Promise<void> {
  process.kill(await kubelet.processId(id), 'SIGKILL');
  await until(`${id} to be seen as exited`, async () => {
    return (await kubelet.containerStatus(id))?.state === ContainerState.CONTAINER_EXITED;
  });
}
