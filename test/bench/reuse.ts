// What the kept layer costs at a restart: CreateContainer and StartContainer of the next attempt with the hand-over of a
// small and of a large layer, against the same two calls without Holdfast.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RunningPod } from '../../agent/cli/quickstart/cri-client.ts';
import { startPrivateContainerd } from '../../agent/cli/quickstart/private-containerd.ts';
import type { ContainerId } from '../../agent/model/ids.ts';
import type { RestartPolicy } from '../../agent/model/policy.ts';
import { openStore } from '../../agent/state/open-store.ts';
import { somePod, TestNode } from '../integration/reuse/node.ts';
import { type Comparison, formatComparisons, quantile, time } from './measure.ts';

const ROUNDS = 40;
const WARM_UP = 3;
const SIZES_MIB = [1, 1024] as const;

interface Side {
  readonly pod: RunningPod;
  readonly restart: RestartPolicy;
  readonly samples: number[];
  id: ContainerId;
}

async function begin(node: TestNode, restart: RestartPolicy, mebibytes: number): Promise<Side> {
  const pod = await node.cri.runPod(somePod());
  const id = await recreate(node, pod, restart, 0);
  for (let written = 0; written < mebibytes; written += 64) {
    const count = Math.min(64, mebibytes - written);
    await node.shell(id, `dd if=/dev/zero of=/data-${written} bs=1M count=${count} 2>/dev/null`);
  }
  return { pod, restart, id, samples: [] };
}

async function recreate(
  node: TestNode,
  pod: RunningPod,
  restart: RestartPolicy,
  attempt: number,
): Promise<ContainerId> {
  if (restart === 'reuse') return await node.run(pod, 'app', attempt);
  const id = await node.createAtRuntime(pod, 'app', attempt, { restart });
  await node.cri.startContainer(id);
  return id;
}

/** What is timed is what the kubelet waits for; the removal of the old container comes after, as with the kubelet. */
async function restartOnce(node: TestNode, side: Side, attempt: number): Promise<void> {
  const before = side.id;
  await node.stop(before);
  const took = await time(async () => {
    side.id = await recreate(node, side.pod, side.restart, attempt);
  });
  if (attempt > WARM_UP) side.samples.push(took);
  if (side.restart === 'reuse') await node.remove(side.pod, 'app', before);
  else await node.cri.removeContainer(before);
}

async function measure(node: TestNode): Promise<void> {
  const plain = await begin(node, 'rebuild', 0);
  const reused: Side[] = [];
  for (const size of SIZES_MIB) reused.push(await begin(node, 'reuse', size));
  const sides = [plain, ...reused];
  for (let attempt = 1; attempt <= ROUNDS + WARM_UP; attempt += 1) {
    // Who goes first changes with every round.
    for (let turn = 0; turn < sides.length; turn += 1) {
      const side = sides[(attempt + turn) % sides.length];
      if (side !== undefined) await restartOnce(node, side, attempt);
    }
  }
  const comparisons: Comparison[] = SIZES_MIB.map((size, index) => ({
    subject: `restart with ${size} MiB in the layer`,
    baseline: plain.samples,
    holdfast: reused[index]?.samples ?? [],
  }));
  process.stdout.write(formatComparisons({ baseline: 'recreate', holdfast: 'reuse' }, comparisons));
  for (const { subject, baseline, holdfast } of comparisons) {
    const added = quantile(holdfast, 0.5) - quantile(baseline, 0.5);
    process.stdout.write(`${subject}: ${added.toFixed(1)} ms more at p50 (aim: 15 ms at most)\n`);
  }
}

/** Runs the comparison and prints its table. */
export async function run(): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'holdfast-bench-'));
  const onProblem = (error: Error): void => void process.stderr.write(`${error.message}\n`);
  try {
    // The durable store: its commits are part of the cost.
    const { store } = await openStore({ directory, onProblem });
    const containerd = await startPrivateContainerd();
    try {
      const node = await TestNode.open(containerd, store);
      try {
        await measure(node);
      } finally {
        node.close();
      }
    } finally {
      await containerd.stop();
      await store.close();
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
