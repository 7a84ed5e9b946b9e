// The texts of the kernel that the private containerd depends on.
import t from 'tap';
import { parseCgroupMounts } from '../../../../agent/cli/quickstart/cgroup-tree.ts';
import { containerdConfig } from '../../../../agent/cli/quickstart/containerd-config.ts';
import { parseInstanceName, parseMountsBelow } from '../../../../agent/cli/quickstart/instance.ts';
import { identify, isAlive } from '../../../../agent/cli/quickstart/process.ts';

const MOUNTINFO = `22 1 0:20 / /proc rw,relatime - proc proc rw
30 23 0:26 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
31 23 0:27 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
32 23 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate
40 1 0:40 / /tmp/x/run/a rw - overlay overlay rw,lowerdir=/a
41 40 0:41 / /tmp/x/run/a/with\\040blank rw - tmpfs tmpfs rw
42 1 0:42 / /tmp/xy rw - tmpfs tmpfs rw
`;

t.test('cgroup hierarchies of both versions are found', async (t) => {
  t.strictSame(parseCgroupMounts(MOUNTINFO), [
    { mountPoint: '/sys/fs/cgroup/cpu,cpuacct', controllers: ['cpu', 'cpuacct'], version: 1 },
    { mountPoint: '/sys/fs/cgroup/systemd', controllers: ['name=systemd'], version: 1 },
    { mountPoint: '/sys/fs/cgroup/unified', controllers: [], version: 2 },
  ]);
});

t.test('mounts below a directory come innermost first, those beside it not at all', async (t) => {
  t.strictSame(parseMountsBelow(MOUNTINFO, '/tmp/x'), ['/tmp/x/run/a/with blank', '/tmp/x/run/a']);
});

t.test('the owner of a directory is read from its name, and only from names that we give', async (t) => {
  t.strictSame(parseInstanceName('holdfast-private-12-345-abcDEF'), { pid: 12, startTicks: 345 });
  for (const name of [
    'holdfast-private-12-345-../../x',
    'holdfast-private-12-abcDEF',
    'x-holdfast-private-1-2-abcdef',
  ]) {
    t.equal(parseInstanceName(name), undefined);
  }
});

t.test('a process is told from a later one with its number', async (t) => {
  const self = await identify(process.pid);
  t.ok(self);
  if (self === undefined) return;
  t.equal(await isAlive(self), true);
  t.equal(await isAlive({ ...self, startTicks: self.startTicks + 1 }), false);
  t.equal(await identify(2 ** 22 + 1), undefined);
});

t.test('every path of the configuration is below the directory', async (t) => {
  const config = containerdConfig({ directory: '/tmp/a "b"', mayLowerOomScore: false, systemdCgroup: false });
  const paths = [...config.matchAll(/= "(\/(?:[^"\\]|\\.)*)"/g)].map(([, path]) => path);
  t.equal(paths.length, 6);
  t.strictSame(
    paths.filter((path) => path?.startsWith('/tmp/a \\"b\\"/') !== true),
    [],
  );
  t.match(config, 'restrict_oom_score_adj = true');
});
