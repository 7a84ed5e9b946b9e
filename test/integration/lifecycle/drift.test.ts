// What an operator, or a kubelet with the static CPU manager, changes behind our back is put right.
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { cgroupHierarchies } from '../../../agent/cli/quickstart/cgroup-tree.ts';
import { CpuSet } from '../../../agent/model/cpu-set.ts';
import { RuntimeService } from '../../../proto/gen/wire/cri/v1/cri_pb.ts';
import { assertNoDoubleUse, confinementOf, sharedPool } from './facts.ts';
import { NEEDS_CPUS, settles, startNode, type TestNode } from './harness.ts';
import { KEEPS_ALL, neighbour, somePod } from './pods.ts';

/** The file with the CPUs of the container's cgroup. */
async function cpusFile({ direct }: TestNode, id: string): Promise<string> {
  const cgroups = await readFile(`/proc/${await direct.processId(id)}/cgroup`, 'utf8');
  for (const { mountPoint, controllers, version } of await cgroupHierarchies()) {
    if (version === 1 && !controllers.includes('cpuset')) continue;
    const line = version === 1 ? /^\d+:(?:[^:]*,)?cpuset(?:,[^:]*)?:(.*)$/m : /^0::(.*)$/m;
    const path = line.exec(cgroups)?.[1];
    if (path !== undefined) return join(mountPoint, path, 'cpuset.cpus');
  }
  throw new Error(`container ${id} is in no cgroup with cpusets:\n${cgroups}`);
}

t.test('CPUs that something else changed', { skip: NEEDS_CPUS }, async (t) => {
  const node = await startNode(t);
  const { kubelet } = node;
  const whole = await sharedPool(node);
  const owner = (await kubelet.makePod(somePod(KEEPS_ALL))).containerIds.get('app') ?? '';
  const other = (await kubelet.makePod(neighbour())).containerIds.get('app') ?? '';
  const [owned, shared] = [await confinementOf(node, owner), await confinementOf(node, other)];
  t.equal(CpuSet.parse(owned.cpus).overlaps(CpuSet.parse(shared.cpus)), false);

  for (const [name, id, cpus, expected] of [
    ['a neighbour on all CPUs', other, whole, shared],
    ['the owner on the CPUs of others', owner, shared.cpus, owned],
  ] as const) {
    const file = await cpusFile(node, id);
    await writeFile(file, cpus);
    t.equal((await readFile(file, 'utf8')).trim(), cpus, `${name}: written behind the agent's back`);
    await settles(t, `${name}: put right`, expected, () => confinementOf(node, id));
  }

  for (const [name, containerId, cpusetCpus, expected] of [
    ['a neighbour', other, whole, shared],
    ['the owner', owner, shared.cpus, owned],
  ] as const) {
    await kubelet.call(RuntimeService.method.updateContainerResources, { containerId, linux: { cpusetCpus } });
    t.strictSame(await confinementOf(node, containerId), expected, `${name}: another CPU manager does not win`);
  }
  await assertNoDoubleUse(t, node);
});
