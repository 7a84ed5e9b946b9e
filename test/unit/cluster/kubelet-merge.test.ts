// The kubelet's own rules for its flags, its file and its drop-ins.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { type KubeletFlag, parseKubeletFlags } from '../../../agent/cluster/kubelet-flags.ts';
import { mergeKubeletConfig } from '../../../agent/cluster/kubelet-merge.ts';

const HEAD = 'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n';
const file = (path: string, body: string): { path: string; text: string } => ({ path, text: HEAD + body });
const flags = (...words: readonly string[]): ReadonlyMap<KubeletFlag, string> => parseKubeletFlags(words);

await t.test('flags in both forms; the last of a flag counts', async (t) => {
  t.same(
    [
      ...flags(
        '--config=/etc/k.yaml',
        '--v=2',
        '--cpu_manager_policy',
        'static',
        '--reserved-cpus=0-1',
        '--reserved-cpus=2=3',
        'stray',
        '-config=x',
        '--',
        '--cgroup-driver=systemd',
      ),
    ],
    [
      ['config', '/etc/k.yaml'],
      ['cpu-manager-policy', 'static'],
      ['reserved-cpus', '2=3'],
    ],
  );
  t.same([...flags('--config')], [['config', '']], 'a flag without its value');
});

await t.test('any words are read without an error', async () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(fc.string(), fc.constantFrom('--config', '--', '--config='))), (words) => {
      for (const [name, value] of parseKubeletFlags(words)) assert.ok(name !== undefined && typeof value === 'string');
    }),
  );
});

await t.test("without files and flags: the kubelet's defaults", async (t) => {
  t.same(mergeKubeletConfig(7, flags(), []), {
    pid: 7,
    cpuManagerPolicy: 'none',
    memoryManagerPolicy: 'None',
    topologyManagerPolicy: 'none',
    cgroupDriver: 'cgroupfs',
    containerRuntimeEndpoint: 'unix:///run/containerd/containerd.sock',
    rootDirectory: '/var/lib/kubelet',
    sources: ['command line'],
  });
});

await t.test('drop-ins are merge patches in their order, flags win', async (t) => {
  const config = mergeKubeletConfig(1, flags('--memory-manager-policy=None', '--root-dir', '/data/kubelet'), [
    file(
      '/etc/k.yaml',
      'cpuManagerPolicy: static\nreservedSystemCPUs: 0-1\nmemoryManagerPolicy: Static\nstaticPodPath: /m\n',
    ),
    file('/etc/d/1.conf', 'cpuManagerPolicy: none\nstaticPodPath: null\nevictionHard: {memory.available: "0%"}\n'),
    {
      path: '/etc/d/2.conf',
      text: JSON.stringify({
        apiVersion: 'kubelet.config.k8s.io/v1beta1',
        kind: 'KubeletConfiguration',
        reservedSystemCPUs: '0,4',
        cgroupDriver: 'systemd',
      }),
    },
  ]);
  t.match(config, {
    cpuManagerPolicy: 'none',
    memoryManagerPolicy: 'None',
    cgroupDriver: 'systemd',
    rootDirectory: '/data/kubelet',
    sources: ['/etc/k.yaml', '/etc/d/1.conf', '/etc/d/2.conf', 'command line'],
  });
  t.equal(config.reservedSystemCpus?.toString(), '0,4');
  t.equal(config.staticPodPath, undefined, 'null takes a key back');
  const flag = mergeKubeletConfig(1, flags('--reserved-cpus=7'), [file('/k', 'reservedSystemCPUs: 0-1\n')]);
  t.equal(flag.reservedSystemCpus?.toString(), '7');
  t.equal(mergeKubeletConfig(1, flags(), [file('/k', 'reservedSystemCPUs: ""\n')]).reservedSystemCpus, undefined);
});

await t.test('damaged files are errors with file and line', async (t) => {
  const broken =
    (body: string): (() => unknown) =>
    () =>
      mergeKubeletConfig(1, flags(), [file('/etc/k.yaml', body)]);
  t.throws(broken('a: [1\n'), { code: 'HOST_FAILURE', message: /\/etc\/k\.yaml:[34]:/ });
  t.throws(broken('\ncpuManagerPolicy: {a: 1}\n'), {
    code: 'HOST_FAILURE',
    message: /\/etc\/k\.yaml:4:\d+: cpuManagerPolicy/,
  });
  t.throws(broken('\n\nreservedSystemCPUs: 0-x\n'), { code: 'HOST_FAILURE', message: /\/etc\/k\.yaml:5:21: "0-x"/ });
  t.throws(() => mergeKubeletConfig(1, flags(), [{ path: '/d/1.conf', text: 'cpuManagerPolicy: none\n' }]), {
    code: 'HOST_FAILURE',
    message: /\/d\/1\.conf:1:1: apiVersion/,
  });
  t.throws(() => mergeKubeletConfig(1, flags('--reserved-cpus=a'), []), {
    code: 'HOST_FAILURE',
    message: /--reserved-cpus: "a"/,
  });
});
