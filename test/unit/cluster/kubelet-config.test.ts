// The kubelet of a host, found through /proc and read from its files.
import t from 'tap';
import { readKubeletConfig } from '../../../agent/cluster/kubelet-config.ts';
import { openHostTree } from '../../../agent/host/host-tree.ts';
import { treeOf } from '../topology/fake-machine.ts';

const signal = new AbortController().signal;
const HEAD = 'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n';
const cmdline = (...words: readonly string[]): string => `${words.join('\0')}\0`;

await t.test('flags, file and drop-ins of a running kubelet', async (t) => {
  const root = t.testdir({
    proc: {
      1: { cmdline: cmdline('/sbin/init') },
      42: {
        cmdline: cmdline(
          '/usr/bin/kubelet',
          '--config=/var/lib/kubelet/config.yaml',
          '--config-dir',
          'drop-ins',
          '--cgroup-driver=systemd',
        ),
        cwd: t.fixture('symlink', '/etc/kubelet'),
      },
      self: t.fixture('symlink', '42'),
    },
    var: { lib: { kubelet: { 'config.yaml': `${HEAD}reservedSystemCPUs: "0-1"\ncpuManagerPolicy: static\n` } } },
    etc: {
      kubelet: {
        'drop-ins': {
          '20-last.conf': `${HEAD}reservedSystemCPUs: "0-3"\n`,
          '10-a': { 'x.conf': `${HEAD}reservedSystemCPUs: "7"\ntopologyManagerPolicy: restricted\n` },
          '30-not.yaml': 'garbage: [',
        },
      },
    },
  });
  const config = await readKubeletConfig(await openHostTree(root), signal);
  t.match(config, {
    pid: 42,
    cpuManagerPolicy: 'static',
    topologyManagerPolicy: 'restricted',
    cgroupDriver: 'systemd',
    sources: [
      '/var/lib/kubelet/config.yaml',
      '/etc/kubelet/drop-ins/10-a/x.conf',
      '/etc/kubelet/drop-ins/20-last.conf',
      'command line',
    ],
  });
  t.equal(config?.reservedSystemCpus?.toString(), '0-3');
});

await t.test('no kubelet', async (t) => {
  const root = t.testdir({ proc: { 9: { cmdline: cmdline('kubelet-exporter') }, 10: { cmdline: '' } } });
  t.equal(await readKubeletConfig(await openHostTree(root), signal), undefined);
  t.equal(await readKubeletConfig(await openHostTree(t.testdir({})), signal), undefined);
});

await t.test("kubelets in containers are not the host's", async (t) => {
  const files = new Map([
    ['/proc/5/cmdline', cmdline('/kubelet', '--reserved-cpus=9')],
    ['/proc/6/cmdline', cmdline('/kubelet', '--reserved-cpus=1')],
  ]);
  const links = new Map([
    ['/proc/1/ns/mnt', 'mnt:[1]'],
    ['/proc/5/ns/mnt', 'mnt:[2]'],
    ['/proc/6/ns/mnt', 'mnt:[1]'],
  ]);
  t.equal((await readKubeletConfig(treeOf(files, links), signal))?.pid, 6);
  links.set('/proc/6/ns/mnt', 'mnt:[3]');
  t.equal(await readKubeletConfig(treeOf(files, links), signal), undefined);
});

await t.test('a process that somebody else calls a kubelet is none; of several the service counts', async (t) => {
  const users = (user: number): string => `Name:\tkubelet\nUid:\t${user}\t0\t0\t0\n`;
  const files = new Map([
    ['/proc/4/cmdline', cmdline('kubelet', '--reserved-cpus=4')],
    ['/proc/4/status', users(1000)],
    ['/proc/5/cmdline', cmdline('kubelet', '--reserved-cpus=5')],
    ['/proc/5/status', users(0)],
    ['/proc/5/cgroup', '0::/user.slice/user-0.slice/user@0.service/app.slice/x.scope\n'],
  ]);
  t.equal((await readKubeletConfig(treeOf(files), signal))?.pid, 5);
  files.set('/proc/6/cmdline', cmdline('/usr/bin/kubelet')).set('/proc/6/status', users(0));
  files.set('/proc/6/cgroup', '0::/system.slice/kubelet.service\n');
  t.equal((await readKubeletConfig(treeOf(files), signal))?.pid, 6);
  files.delete('/proc/5/cmdline');
  files.delete('/proc/6/cmdline');
  t.equal(await readKubeletConfig(treeOf(files), signal), undefined);
});

await t.test('files that are absent or damaged', async (t) => {
  const absent = treeOf(new Map([['/proc/3/cmdline', cmdline('kubelet', '--config', '/k.yaml')]]));
  await t.rejects(readKubeletConfig(absent, signal), {
    code: 'HOST_FAILURE',
    message: /process 3.*\/k\.yaml, which is absent/,
  });
  const damaged = treeOf(
    new Map([
      ['/proc/3/cmdline', cmdline('kubelet', '--config', '/k.yaml')],
      ['/k.yaml', `${HEAD}a: b: c\n`],
    ]),
  );
  await t.rejects(readKubeletConfig(damaged, signal), { code: 'HOST_FAILURE', message: /\/k\.yaml:3:/ });
});

await t.test('a drop-in folder that nests for ever', async (t) => {
  const tree = treeOf(new Map([['/proc/3/cmdline', cmdline('kubelet', '--config-dir=/d')]]));
  const endless = { ...tree, listKinds: async () => [{ name: 'd', kind: 'directory' as const }] };
  await t.rejects(readKubeletConfig(endless, signal), { code: 'HOST_FAILURE', message: /levels deep/ });
});
