// What the shim and the agent cost: the same calls straight to containerd and through them, and what both programs
// take while nothing happens.
import { readFile } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';
import type { CriClient } from '../../agent/cli/quickstart/cri-client.ts';
import { APP_IMAGE } from '../../agent/cli/quickstart/images.ts';
import type { PodDescription } from '../../agent/cli/quickstart/pod-requests.ts';
import { type PrivateHost, startPrivateHost } from '../../agent/cli/quickstart/private-host.ts';
import { bytes, formatBytes, milliCpu } from '../../agent/model/quantity.ts';
import { RuntimeService } from '../../proto/gen/wire/cri/v1/cri_pb.ts';
import { type Comparison, compare, cpuSeconds, formatComparisons } from './measure.ts';

const CONTAINERS = 250;
const CONTAINERS_PER_POD = 25;
const CALLS = 1000;
const LIFECYCLES = 40;
const CALLS_BEFORE_MEMORY = 10_000;
const CALLS_AT_ONCE = 20;
const IDLE_SECONDS = 20;

function pod(name: string, containers: number): PodDescription {
  return {
    name,
    namespace: 'bench',
    uid: `bench-${name}`,
    containers: Array.from({ length: containers }, (_, index) => ({
      name: `c${index}`,
      image: APP_IMAGE,
      command: ['/bin/sleep', '1000'],
      // Little: a deleted pod that no pod source tells of holds what it was promised for the grace period.
      cpuRequest: milliCpu(10),
      cpuLimit: milliCpu(100),
      memoryLimit: bytes(16 * 1024 * 1024),
    })),
  };
}

/** Containers that were created and never started: as long an answer of ListContainers, in a fraction of the time. */
async function fill(kubelet: CriClient): Promise<string> {
  let last = '';
  for (let index = 0; index < CONTAINERS / CONTAINERS_PER_POD; index += 1) {
    const running = await kubelet.runPod(pod(`filler-${index}`, CONTAINERS_PER_POD));
    for (const { name } of running.containers) last = await kubelet.createContainer(running, name);
  }
  return last;
}

/** From RunPodSandbox to RemovePodSandbox, as the kubelet does it for a pod with one container. */
async function lifecycle(kubelet: CriClient, description: PodDescription): Promise<void> {
  await kubelet.makePod(description);
  await kubelet.deletePod(description.uid);
}

async function compareCalls({ direct, kubelet }: PrivateHost, containerId: string): Promise<readonly Comparison[]> {
  const { version, listContainers, containerStatus } = RuntimeService.method;
  const of = (client: CriClient) => ({
    version: () => client.call(version, {}),
    list: () => client.call(listContainers, {}),
    status: () => client.call(containerStatus, { containerId }),
  });
  const [baseline, holdfast] = [of(direct), of(kubelet)];
  const side = (name: keyof typeof baseline) => ({ baseline: baseline[name], holdfast: holdfast[name] });
  return [
    await compare('Version', side('version'), CALLS),
    await compare(`ListContainers (${CONTAINERS})`, side('list'), CALLS / 2),
    await compare('ContainerStatus', side('status'), CALLS),
  ];
}

async function compareLifecycles({ direct, kubelet }: PrivateHost): Promise<readonly Comparison[]> {
  let count = 0;
  const run = async (client: CriClient, annotations: Readonly<Record<string, string>>): Promise<void> => {
    count += 1;
    await lifecycle(client, { ...pod(`life-${count}`, 1), annotations });
  };
  const plain = { baseline: () => run(direct, {}), holdfast: () => run(kubelet, {}) };
  const kept = { 'holdfast.dev/restart': 'reuse', 'holdfast.dev/numa': 'required' };
  const reuse = { baseline: () => run(direct, {}), holdfast: () => run(kubelet, kept) };
  return [
    await compare('lifecycle, default pod', plain, LIFECYCLES, 3),
    await compare('lifecycle, reuse + NUMA', reuse, LIFECYCLES, 3),
  ];
}

async function residentBytes(pid: number): Promise<number> {
  const kilobytes = /^VmRSS:\s+(\d+) kB/m.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kilobytes) * 1024;
}

async function reportMemory(host: PrivateHost): Promise<void> {
  const { version } = RuntimeService.method;
  for (let done = 0; done < CALLS_BEFORE_MEMORY; done += CALLS_AT_ONCE) {
    await Promise.all(Array.from({ length: CALLS_AT_ONCE }, () => host.kubelet.call(version, {})));
  }
  for (const [name, program] of [['cri-shim', host.shim] as const, ['agent', host.agent] as const]) {
    const size = await residentBytes(program.pid() ?? 0);
    process.stdout.write(`${name}: ${formatBytes(bytes(size))} resident after ${CALLS_BEFORE_MEMORY} further calls\n`);
  }
}

async function reportIdle(host: PrivateHost): Promise<void> {
  const pids = [host.shim.pid() ?? 0, host.agent.pid() ?? 0];
  const used = async (): Promise<number> => {
    const each = await Promise.all(pids.map(cpuSeconds));
    return each.reduce((sum, seconds) => sum + seconds, 0);
  };
  const before = await used();
  await setTimeout(IDLE_SECONDS * 1000);
  const share = ((await used()) - before) / IDLE_SECONDS;
  const text = `${(share * 100).toFixed(2)} % of a core over ${IDLE_SECONDS} s, with ${CONTAINERS} containers`;
  process.stdout.write(`idle, cri-shim and agent together: ${text}\n`);
}

export async function run(): Promise<void> {
  const host = await startPrivateHost();
  try {
    const lifecycles = await compareLifecycles(host);
    const containerId = await fill(host.kubelet);
    const calls = await compareCalls(host, containerId);
    const headings = { baseline: 'containerd', holdfast: 'Holdfast' };
    process.stdout.write(`${formatComparisons(headings, [...calls, ...lifecycles])}\n`);
    await reportMemory(host);
    await reportIdle(host);
  } finally {
    await host.stop();
  }
}
