// Processes, and what a process is confined to, from the texts of /proc.
import t from 'tap';
import { findCpusetDirectory, listProcesses, readConfinement, readStatusField } from '../../../agent/host/procfs.ts';
import { treeOf } from '../topology/fake-machine.ts';

const V1 = [
  'tmpfs /sys/fs/cgroup tmpfs ro 0 0',
  'cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0',
  'cgroup /sys/fs/cgroup/cpuset cgroup rw,cpuset 0 0',
  'cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0',
].join('\n');
const V2 = 'cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n';

await t.test('where the cpuset is', async (t) => {
  t.match(findCpusetDirectory(V2, '0::/a/b\n', undefined), { directory: '/sys/fs/cgroup/a/b', version: 2 });
  t.match(findCpusetDirectory(V1, '4:cpuset:/a\n0::/b\n', undefined), {
    directory: '/sys/fs/cgroup/cpuset/a',
    mountPoint: '/sys/fs/cgroup/cpuset',
    version: 1,
  });
  t.match(
    findCpusetDirectory('none /dev/cpu\\040set cpuset rw 0 0', undefined, '/job\n'),
    { directory: '/dev/cpu set/job', version: 1 },
    'escapes in mount points, and the old file system',
  );
  t.equal(findCpusetDirectory(V2, '0::/../../x\n', undefined), undefined, "outside this process's namespace");
  t.equal(findCpusetDirectory('proc /proc proc rw 0 0\nbroken', '0::/\n', '/'), undefined);
  t.equal(findCpusetDirectory('', undefined, undefined), undefined);
});

await t.test('the nearest cgroup that has cpusets, on v1 and v2', async (t) => {
  const v1 = await readConfinement(
    treeOf(
      new Map([
        ['/proc/mounts', V1],
        ['/proc/self/cgroup', '4:cpuset:/a\n0::/b\n'],
        ['/sys/fs/cgroup/cpuset/a/cpuset.cpus', '0-3\n'],
        ['/sys/fs/cgroup/cpuset/a/cpuset.effective_cpus', '0-1\n'],
        ['/sys/fs/cgroup/cpuset/a/cpuset.mems', '\n'],
        ['/sys/fs/cgroup/cpuset/cpuset.mems', '0\n'],
      ]),
    ),
  );
  t.equal(v1.cpus?.text, '0-1\n');
  t.equal(v1.mems?.path, '/sys/fs/cgroup/cpuset/cpuset.mems', 'an empty file is one that was never set');

  const bare = await readConfinement(treeOf(new Map([['/proc/mounts', V2]])));
  t.same(bare, { cpus: undefined, mems: undefined });
});

await t.test('fields of /proc/<pid>/status', async (t) => {
  const status = {
    path: '/proc/self/status',
    text: 'Name:\tx\nCpus_allowed:\tf\nCpus_allowed_list:\t0-3\nMems_allowed_list:\t\n',
  };
  t.match(readStatusField(status, 'Cpus_allowed_list'), { path: '/proc/self/status (Cpus_allowed_list)', text: '0-3' });
  t.equal(readStatusField(status, 'Mems_allowed_list')?.text, '');
  t.equal(readStatusField(status, 'Threads'), undefined);
});

await t.test('processes by the name of their program', async (t) => {
  const tree = treeOf(
    new Map([
      ['/proc/10/cmdline', '/usr/bin/kubelet\0--config\0/etc/k.yaml\0'],
      ['/proc/9/cmdline', 'sleep\x001\0'],
      ['/proc/2/cmdline', ''],
      ['/proc/11/cmdline', `node\0${'x'.repeat(200_000)}`],
      ['/proc/meminfo', ''],
    ]),
    new Map([['/proc/10/exe', '/opt/bin/kubelet (deleted)']]),
  );
  const processes = await listProcesses(tree, new AbortController().signal);
  t.same(
    processes.map(({ pid, name }) => [pid, name]),
    [
      [9, 'sleep'],
      [10, 'kubelet'],
      [11, 'node'],
    ],
  );
  t.same(processes[1]?.arguments, ['/usr/bin/kubelet', '--config', '/etc/k.yaml']);
});
