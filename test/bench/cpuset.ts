// cpuset: how long one planning takes on a large host, and what an exclusive container costs beside many shared ones.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatTable } from '../../agent/cli/output.ts';
import { Ledger } from '../../agent/cpuset/ledger.ts';
import { buildMachine } from '../../agent/cpuset/machine.ts';
import type { ContainerAsk } from '../../agent/cpuset/plan-need.ts';
import { planPod } from '../../agent/cpuset/plan-pod.ts';
import { CpuSet } from '../../agent/model/cpu-set.ts';
import { podUid } from '../../agent/model/ids.ts';
import type { NumaPolicy } from '../../agent/model/policy.ts';
import { openStore } from '../../agent/state/open-store.ts';
import { readHostTopology } from '../../agent/topology/read-topology.ts';
import { CpusetNode, makeNeed, signal } from '../support/cpuset-node.ts';
import { evenHost, GIB } from '../support/hand-made-hosts.ts';
import { openKernelCgroups } from '../support/kernel-cgroups.ts';
import { formatComparisons, quantile, time } from './measure.ts';

const NEIGHBOURS = 250;
const REPETITIONS = 40;
const WARM_UP = 4;
const PLANNINGS = 4000;
const PLANNINGS_WARM_UP = 500;
const PODS = 120;

/** A generator of its own, so that every run asks for the same (xorshift32). */
function numbers(): () => number {
  let state = 0x9e3779b9;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

/**
 * Pods come and go on 1024 CPUs and 8 NUMA nodes; measured are the plan, its entry in the books and the new pool. A
 * planning is disturbed when the kernel took the CPU away for another program meanwhile.
 */
function benchPlanning(numa: NumaPolicy, most: number): readonly string[] {
  const host = evenHost(8, 64, 2, { coresPerL3: 8, memoryBytes: 256 * GIB });
  const ledger = new Ledger(buildMachine(host, CpuSet.of(0, 1, 2, 3)), {
    strategy: 'pack',
    unboundMemory: 'proportional',
    reservedMemory: 0,
  });
  const next = numbers();
  const held: string[] = [];
  const samples: number[] = [];
  const undisturbed: number[] = [];
  let refused = 0;
  for (let index = -PLANNINGS_WARM_UP; index < PLANNINGS; index += 1) {
    if (held.length >= PODS) ledger.delete(podUid(held.splice(next() % held.length, 1)[0] ?? ''));
    const exclusive = 1 + (next() % most);
    const ask: ContainerAsk = {
      name: 'app',
      kind: 'app',
      cpuset: 'exclusive',
      numa,
      numaScope: 'pod',
      need: { exclusive, milli: 0, shared: false, memory: (1 + (next() % 16)) * GIB, hugepages: new Map() },
    };
    const uid = podUid(`pod-${index}`);
    const switches = process.resourceUsage().involuntaryContextSwitches;
    const start = performance.now();
    const pod = { uid, namespace: 'default', name: 'pod', numa };
    const plan = planPod(ledger.room, pod, { basis: 'spec', containers: [ask] });
    if (plan.ok) {
      ledger.set(plan.holding);
      ledger.pool();
    }
    const took = performance.now() - start;
    if (index >= 0) samples.push(took);
    if (index >= 0 && process.resourceUsage().involuntaryContextSwitches === switches) undisturbed.push(took);
    if (index >= 0 && !plan.ok) refused += 1;
    if (plan.ok) held.push(uid);
    else {
      ledger.delete(podUid(held.shift() ?? ''));
    }
  }
  const shown = (value: number): string => `${value.toFixed(3)} ms`;
  return [
    `${numa}, 1 to ${most} CPUs`,
    `${PLANNINGS}`,
    `${refused}`,
    shown(quantile(samples, 0.5)),
    shown(quantile(samples, 0.99)),
    shown(quantile(undisturbed, 0.99)),
    `${samples.length - undisturbed.length}`,
  ];
}

/** Creation of a container beside many that run: the steps from RunPodSandbox to StartContainer, as the agent sees them. */
async function benchNeighbours(): Promise<string> {
  const cgroups = await openKernelCgroups();
  if (typeof cgroups === 'string') return `The neighbours were not measured: ${cgroups}.\n`;
  const { topology } = await readHostTopology('/', signal());
  if (topology.usableCpus.size < 2) return 'The neighbours were not measured: two CPUs are needed.\n';
  const directory = await mkdtemp(join(tmpdir(), 'holdfast-bench-'));
  const { store } = await openStore({ directory, onProblem: (error) => process.stderr.write(`${String(error)}\n`) });
  const node = new CpusetNode({ host: cgroups, topology, store });
  try {
    await node.start();
    for (let index = 0; index < NEIGHBOURS; index += 1) {
      await node.runPod({ uid: `n${index}` });
      await node.run(`n${index}`, 'app', makeNeed(1));
    }
    const samples = { shared: [] as number[], exclusive: [] as number[] };
    for (let index = -WARM_UP; index < REPETITIONS; index += 1) {
      for (const cpuset of index % 2 === 0 ? (['shared', 'exclusive'] as const) : (['exclusive', 'shared'] as const)) {
        const uid = `${cpuset}-${index + WARM_UP}`;
        const took = await time(async () => {
          await node.runPod({ uid, policy: { cpuset }, sums: makeNeed(1, GIB) });
          await node.create(uid, 'app', makeNeed(1, GIB));
          await node.created(uid, 'app', makeNeed(1, GIB));
        });
        if (index >= 0) samples[cpuset].push(took);
        // Not measured: everyone goes back to where they were.
        await node.endPod(uid);
        await node.feature.idle();
      }
    }
    const subject = `creation beside ${NEIGHBOURS} shared (cgroup v${cgroups.version})`;
    const headings = { baseline: 'shared', holdfast: 'exclusive' };
    return formatComparisons(headings, [{ subject, baseline: samples.shared, holdfast: samples.exclusive }]);
  } finally {
    await node.feature.close();
    await cgroups.remove();
    await store.close();
    await rm(directory, { recursive: true, force: true });
  }
}

export async function run(): Promise<void> {
  const plannings = [
    benchPlanning('required', 32),
    benchPlanning('required', 4),
    benchPlanning('preferred', 200),
    benchPlanning('none', 32),
  ];
  process.stdout.write('One planning on 1024 CPUs in 8 NUMA nodes\n\n');
  process.stdout.write(formatTable(['what', 'n', 'refused', 'p50', 'p99', 'p99 undisturbed', 'disturbed'], plannings));
  process.stdout.write(
    `\nThe steps as the agent answers them: the kernel's cgroups and a store on the disk, a runtime in memory\n\n`,
  );
  process.stdout.write(await benchNeighbours());
}
