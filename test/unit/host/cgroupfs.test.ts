// Containers' cgroups in made-up trees: v1 and v2, both drivers, nested and vanished ones. What a kernel refuses is
// tested against a kernel (test/integration/cpuset).
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { openCgroups } from '../../../agent/host/cgroupfs.ts';
import {
  containerPath,
  directoryOf,
  parseCgroupMounts,
  parseMemberships,
  podPath,
} from '../../../agent/host/process-cgroup.ts';
import { CpuSet } from '../../../agent/model/cpu-set.ts';

const UID = '0a1b2c3d-0000-1111-2222-333344445555';
const ID = 'c0ffee0123456789';

const V1_MOUNTS = `30 29 0:26 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
31 29 0:27 / /sys/fs/cgroup/cpuset rw,relatime shared:10 - cgroup cgroup rw,cpuset
32 29 0:28 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
33 29 8:1 / / rw - ext4 /dev/sda1 rw
`;
const V2_MOUNTS = '30 29 0:26 / /sys/fs/cgroup rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n';

type Tree = { readonly [name: string]: Tree | string };

function makeTree(root: string, tree: Tree): void {
  for (const [name, content] of Object.entries(tree)) {
    const path = join(root, name);
    if (typeof content === 'string') writeFileSync(path, content);
    else {
      mkdirSync(path, { recursive: true });
      makeTree(path, content);
    }
  }
}

await t.test('finds and writes a container on v1 with the cgroupfs driver', async (t) => {
  const path = `kubepods/burstable/pod${UID}/${ID}`;
  const root = t.testdir();
  makeTree(root, {
    proc: {
      self: { mountinfo: V1_MOUNTS },
      '42': { cgroup: `5:cpu,cpuacct:/${path}\n4:cpuset:/${path}/nested\n0::/\n` },
    },
    'sys/fs/cgroup': {
      [`cpuset/${path}`]: { 'cpuset.cpus': '0-7\n', 'cpuset.mems': '0-1\n', 'cpuset.memory_migrate': '0\n' },
      [`cpuset/${path}/nested`]: { 'cpuset.cpus': '0-7\n', 'cpuset.mems': '0-1\n' },
      [`cpu,cpuacct/${path}`]: { 'cpu.cfs_quota_us': '400000\n' },
      [`cpu,cpuacct/${path}/..`]: { 'cpu.cfs_quota_us': '500000\n' },
    },
  });
  const cgroups = await openCgroups(root);
  t.equal(cgroups.version, 1);
  const cgroup = await cgroups.locate(42, ID, UID);
  assert.ok(cgroup);
  t.equal(cgroup.cpuset, join(root, 'sys/fs/cgroup/cpuset', path), 'its own, not the one nested inside');
  t.equal(String((await cgroups.read(cgroup))?.cpus), '0-7');

  t.ok(await cgroups.write(cgroup, CpuSet.of(2, 3), CpuSet.of(1)));
  t.match(await cgroups.read(cgroup), { cpus: CpuSet.of(2, 3), mems: CpuSet.of(1) });
  t.equal(readFileSync(join(cgroup.cpuset, 'cpuset.memory_migrate'), 'utf8'), '1', 'its pages follow');

  t.ok(await cgroups.write(cgroup, CpuSet.of(2, 3, 4, 5), undefined));
  t.equal(String((await cgroups.read(cgroup))?.mems), '1', 'undefined mems stay');

  t.equal(await cgroups.liftQuota(cgroup), 2, "its own and its pod's");
  t.equal(await cgroups.liftQuota(cgroup), 0);
  t.equal(readFileSync(join(root, `sys/fs/cgroup/cpu,cpuacct/${path}/cpu.cfs_quota_us`), 'utf8'), '-1');

  rmSync(cgroup.cpuset, { recursive: true });
  t.equal(await cgroups.read(cgroup), undefined);
  t.equal(await cgroups.write(cgroup, CpuSet.of(1), undefined), false, 'a cgroup that is gone is no error');
});

await t.test('growing takes nested cgroups along on v1', async (t) => {
  const root = t.testdir();
  makeTree(root, {
    proc: { self: { mountinfo: V1_MOUNTS }, '42': { cgroup: `4:cpuset:/${ID}\n` } },
    'sys/fs/cgroup/cpuset': {
      [ID]: {
        'cpuset.cpus': '0-3\n',
        all: { 'cpuset.cpus': '0-3\n', deeper: { 'cpuset.cpus': '0-3\n' } },
        own: { 'cpuset.cpus': '1\n' },
        empty: { 'cpuset.cpus': '\n' },
      },
    },
  });
  const cgroups = await openCgroups(root);
  const cgroup = await cgroups.locate(42, ID, UID);
  assert.ok(cgroup);
  t.ok(await cgroups.write(cgroup, CpuSet.of(0, 1, 2, 3, 4, 5), undefined));
  const cpusOf = (name: string): string => readFileSync(join(cgroup.cpuset, name, 'cpuset.cpus'), 'utf8').trim();
  t.equal(cpusOf('all'), '0-5', 'had all of its CPUs');
  t.equal(cpusOf('all/deeper'), '0-5');
  t.equal(cpusOf('own'), '1', 'had chosen its own');
  t.equal(cpusOf('empty'), '');
});

await t.test('finds and writes a container on v2 with the systemd driver', async (t) => {
  const slice = `kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${UID.replaceAll('-', '_')}.slice`;
  const scope = `${slice}/cri-containerd-${ID}.scope`;
  const root = t.testdir();
  makeTree(root, {
    proc: { self: { mountinfo: V2_MOUNTS }, '42': { cgroup: `0::/${scope}/init.scope\n` } },
    'sys/fs/cgroup': {
      [slice]: { 'cpu.max': '500000 100000\n' },
      [scope]: {
        'cgroup.controllers': 'cpuset cpu memory\n',
        'cpuset.cpus': '\n',
        'cpuset.mems': '\n',
        'cpu.max': '400000 100000\n',
      },
    },
  });
  const cgroups = await openCgroups(root);
  t.equal(cgroups.version, 2);
  const cgroup = await cgroups.locate(42, ID, UID);
  assert.ok(cgroup);
  t.equal(cgroup.cpuset, join(root, 'sys/fs/cgroup', scope));
  t.ok(await cgroups.write(cgroup, CpuSet.of(4, 5), CpuSet.of(0)));
  t.match(await cgroups.read(cgroup), { cpus: CpuSet.of(4, 5), mems: CpuSet.of(0) });
  t.equal(await cgroups.liftQuota(cgroup), 2);
  t.equal(readFileSync(join(root, 'sys/fs/cgroup', slice, 'cpu.max'), 'utf8'), 'max');
});

await t.test('says when the cpuset controller is off', async (t) => {
  const root = t.testdir();
  makeTree(root, {
    proc: { self: { mountinfo: V2_MOUNTS }, '42': { cgroup: `0::/${ID}\n` } },
    'sys/fs/cgroup': { [ID]: { 'cgroup.controllers': 'cpu memory\n' } },
  });
  const cgroups = await openCgroups(root);
  const cgroup = await cgroups.locate(42, ID, UID);
  assert.ok(cgroup);
  await t.rejects(cgroups.write(cgroup, CpuSet.of(1), undefined), {
    code: 'UNSUPPORTED',
    message: /cpuset controller is off .*cgroup.subtree_control/,
  });
});

await t.test('never touches the cgroup of a process that is not the container', async (t) => {
  const root = t.testdir();
  makeTree(root, { proc: { self: { mountinfo: V2_MOUNTS }, '42': { cgroup: '0::/system.slice/sshd.service\n' } } });
  const cgroups = await openCgroups(root);
  await t.rejects(cgroups.locate(42, ID, UID), { code: 'HOST_FAILURE', message: /does not carry/ });
  t.equal(await cgroups.locate(43, ID, UID), undefined, 'the process is gone');
});

await t.test('a host without cgroups', async (t) => {
  t.equal((await openCgroups(t.testdir())).version, undefined);
});

await t.test('parts of a hierarchy that are mounted for us', async (t) => {
  const [mount] = parseCgroupMounts(
    '31 29 0:27 /docker/abc /sys/fs/cgroup/cpu\\040set rw - cgroup cgroup rw,cpuset\nnonsense\n',
  );
  assert.ok(mount);
  t.match(mount, {
    version: 1,
    root: '/docker/abc',
    mountPoint: '/sys/fs/cgroup/cpu set',
    controllers: ['rw', 'cpuset'],
  });
  t.equal(directoryOf(mount, '/docker/abc/x'), '/sys/fs/cgroup/cpu set/x');
  for (const path of ['/docker/abcd', '/other', '/docker/abc/../x', '/docker/abc/\0']) {
    t.throws(() => directoryOf(mount, path), { code: 'HOST_FAILURE' }, JSON.stringify(path));
  }
});

await t.test('memberships and the parts of a path', async (t) => {
  t.strictSame(parseMemberships('4:cpuset,cpu:/a:b\n0::/x\nrubbish\n'), [
    { controllers: ['cpuset', 'cpu'], path: '/a:b' },
    { controllers: [], path: '/x' },
  ]);
  t.equal(containerPath(`/a/docker-${ID}.scope/b`, ID), `/a/docker-${ID}.scope`);
  t.equal(containerPath('/a/b', ID), undefined);
  t.equal(containerPath('/a/b', ''), undefined);
  t.equal(podPath(`/kubepods/pod${UID}/${ID}`, UID), `/kubepods/pod${UID}`);
  t.equal(podPath(`/kubepods/${ID}`, UID), undefined);
  t.equal(podPath(`/kubepods/pod/${ID}`, ''), undefined);
});
