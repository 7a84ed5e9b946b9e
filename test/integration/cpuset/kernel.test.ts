// The feature on cgroups of this kernel: what processes are really allowed, what the kernel refuses, what it takes away.
import assert from 'node:assert/strict';
import { mkdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { openCgroups } from '../../../agent/host/cgroupfs.ts';
import { CpuSet } from '../../../agent/model/cpu-set.ts';
import type { ContainerId } from '../../../agent/model/ids.ts';
import { readHostTopology } from '../../../agent/topology/read-topology.ts';
import { CpusetNode, makeNeed, signal } from '../../support/cpuset-node.ts';
import { openKernelCgroups } from '../../support/kernel-cgroups.ts';

const EXCLUSIVE = { cpuset: 'exclusive' } as const;
const UID = '11111111-2222-3333-4444-555555555555';

const cgroups = await openKernelCgroups();
const { topology } = await readHostTopology('/', signal());
const usable = topology.usableCpus;
const skip =
  typeof cgroups === 'string' ? cgroups : usable.size < 2 ? 'two CPUs are needed to give one of them away' : false;

/** What the kernel lets the process use. */
async function allowed(node: CpusetNode, id: ContainerId, field = 'Cpus_allowed_list'): Promise<string> {
  const status = await readFile(`/proc/${node.pid(id)}/status`, 'utf8');
  return new RegExp(`^${field}:\\s*(.*)$`, 'm').exec(status)?.[1] ?? '';
}

if (typeof cgroups === 'string' || skip !== false) {
  await t.test('cgroups of this kernel', { skip }, async () => undefined);
} else {
  t.teardown(() => cgroups.remove());
  const [first = 0] = usable;
  const rest = usable.minus(CpuSet.of(first)).toString();

  await t.test('processes leave exclusive CPUs before the owner starts, and come back', async (t) => {
    const node = new CpusetNode({ host: cgroups, topology });
    await node.start();
    await node.runPod({ uid: 'a' });
    const neighbour = await node.run('a', 'app', makeNeed(1));
    t.equal(await allowed(node, neighbour), usable.toString());
    await node.runPod({ uid: UID, policy: { ...EXCLUSIVE, numa: 'required' }, sums: makeNeed(1, 1024 ** 2) });
    const owner = await node.create(UID, 'app', makeNeed(1, 1024 ** 2));
    await node.created(UID, 'app', makeNeed(1, 1024 ** 2));
    t.equal(await allowed(node, neighbour), rest, 'before containerCreated is answered');
    await node.launch(owner);
    await node.started(owner);
    t.equal(await allowed(node, owner), `${first}`);
    t.equal(await allowed(node, owner, 'Mems_allowed_list'), '0');

    await t.test('what something else changed is put back', async (t) => {
      node.write(owner, 'cpuset.cpus', usable.toString());
      node.write(neighbour, 'cpuset.cpus', `${first}`);
      await node.feature.reconcile(signal());
      t.equal(await allowed(node, owner), `${first}`);
      t.equal(await allowed(node, neighbour), rest);
    });

    await t.test('the quota is lifted, in the pod too', async (t) => {
      const quota = cgroups.quotaDirectory({ pod: `pod${UID}`, container: owner });
      const [file, limit, none] =
        cgroups.version === 1 ? ['cpu.cfs_quota_us', '100000', '-1'] : ['cpu.max', '100000 100000', 'max 100000'];
      for (const directory of [join(quota, '..'), quota]) await writeFile(join(directory, file), limit);
      await node.feature.reconcile(signal());
      for (const directory of [join(quota, '..'), quota]) {
        t.equal((await readFile(join(directory, file), 'utf8')).trim(), none, directory);
      }
    });

    await node.endPod(UID);
    await node.feature.idle();
    t.equal(await allowed(node, neighbour), usable.toString());
    await node.endPod('a');
    await node.feature.close();
  });

  await t.test('cgroups nested in a container shrink and grow with it', async (t) => {
    const access = await openCgroups('/');
    const path = { pod: 'podnested', container: 'nested-container' };
    const pid = await cgroups.launch(path, usable.toString(), '0');
    const inner = join(cgroups.directory(path), 'inner');
    await mkdir(inner);
    t.teardown(async () => {
      await cgroups.exit({ ...path, container: join(path.container, 'inner') }).catch(() => rmdir(inner));
    });
    if (cgroups.version === 1) {
      await writeFile(join(inner, 'cpuset.cpus'), usable.toString());
      await writeFile(join(inner, 'cpuset.mems'), '0');
    }
    const cgroup = await access.locate(pid, path.container, 'nested');
    assert.ok(cgroup);
    const innerCpus = async (): Promise<string> => {
      const file = cgroups.version === 1 ? 'cpuset.cpus' : 'cpuset.cpus.effective';
      return (await readFile(join(inner, file), 'utf8').catch(() => rest)).trim();
    };
    t.ok(await access.write(cgroup, CpuSet.parse(rest), undefined));
    t.equal(await innerCpus(), rest);
    t.ok(await access.write(cgroup, usable, CpuSet.of(0)));
    if (cgroups.version === 1) t.equal(await innerCpus(), usable.toString());
    await rmdir(inner);
  });

  await t.test('what the kernel refuses is said with the file', async (t) => {
    const access = await openCgroups('/');
    const path = { pod: 'podnarrow', container: 'narrow-container' };
    const pid = await cgroups.launch(path, usable.toString(), '0');
    const cgroup = await access.locate(pid, path.container, 'narrow');
    assert.ok(cgroup);
    await t.rejects(access.write(cgroup, CpuSet.of(9999), undefined), {
      code: 'HOST_FAILURE',
      message: /the kernel refuses "9999" for .*narrow-container\/cpuset\.cpus/,
    });
    await cgroups.exit(path);
    t.equal(await access.read(cgroup), undefined);
    t.equal(await access.write(cgroup, usable, undefined), false, 'gone is no failure');
    t.equal(await access.locate(pid, path.container, 'narrow'), undefined);
  });

  await t.test('a process elsewhere is never taken for the container', async (t) => {
    const access = await openCgroups('/');
    await t.rejects(access.locate(process.pid, 'no-such-container', ''), { code: 'HOST_FAILURE' });
  });

  await t.test('an agent that died after moving the neighbours tells the runtime at its next start', async (t) => {
    const node = new CpusetNode({ host: cgroups, topology });
    await node.start();
    await node.runPod({ uid: 'b' });
    const neighbour = await node.run('b', 'app', makeNeed(1));
    const { died } = await node.startAgent('cpuset.pool.moved');
    const working = node.feature.recover(signal());
    await died;
    // Nobody waits for the dead.
    working.catch(() => undefined);
    await node.startAgent('cpuset.runtime.told');
    await node.feature.recover(signal());
    await node.runPod({ uid: 'c', policy: EXCLUSIVE });
    await node.run('c', 'app', makeNeed(1));
    t.equal(await allowed(node, neighbour), rest);
    await node.start();
    await node.feature.idle();
    t.ok(node.runtime.log.includes(`update ${neighbour} ${rest} -`));
    t.equal(await allowed(node, neighbour), rest);
    for (const uid of ['b', 'c']) await node.endPod(uid);
    await node.feature.close();
  });
}
