// Finding out how a host's kubelet is started, from copies of what hosts have in /etc, /usr, /var and /proc.
import t, { type Test } from 'tap';
import { openHostTree } from '../../../agent/host/host-tree.ts';
import type { Systemd } from '../../../agent/host/systemd.ts';
import { ENDPOINT_FLAG } from '../../../agent/install/plan-kubelet.ts';
import { readKubeletFacts } from '../../../agent/install/read-kubelet.ts';

const signal = new AbortController().signal;
const HEAD = 'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n';
const cmdline = (...words: readonly string[]): string => `${words.join('\0')}\0`;

type Directory = NonNullable<Parameters<Test['testdir']>[0]>;

/** /proc of a host on which the kubelet runs with these arguments. */
const running = (...words: readonly string[]): Directory => ({
  1: { cmdline: cmdline('/sbin/init') },
  812: { cmdline: cmdline('/usr/bin/kubelet', ...words), cgroup: '0::/system.slice/kubelet.service\n' },
});

const kubeadmUnit: Directory = {
  lib: {
    systemd: {
      system: {
        'kubelet.service': '[Service]\nExecStart=/usr/bin/kubelet\n',
        'kubelet.service.d': {
          '10-kubeadm.conf':
            '[Service]\nEnvironment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml"\nEnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env\nExecStart=\nExecStart=/usr/bin/kubelet $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS\n',
        },
      },
    },
  },
};

const KUBEADM_COMMAND = '/usr/bin/kubelet $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS';
const FLAG = '--container-runtime-endpoint=unix:///run/containerd/containerd.sock';
const OURS = `[Service]\nExecStart=\nExecStart=${KUBEADM_COMMAND} ${ENDPOINT_FLAG}\n`;

async function read(t: Test, directory: Directory) {
  return readKubeletFacts(await openHostTree(t.testdir(directory)), signal);
}

const kubeadmState = (text = HEAD): Directory => ({
  lib: { kubelet: { 'config.yaml': text, 'kubeadm-flags.env': `KUBELET_KUBEADM_ARGS="${FLAG}"\n` } },
});

t.test('kubeadm, running', async (t) => {
  const facts = await read(t, {
    usr: kubeadmUnit,
    var: kubeadmState(),
    proc: running('--config=/var/lib/kubelet/config.yaml', FLAG),
  });
  t.match(facts, {
    embedded: undefined,
    pid: 812,
    unit: { name: 'kubelet.service', commands: [KUBEADM_COMMAND] },
    endpoint: 'unix:///run/containerd/containerd.sock',
    endpointByFlag: true,
    pointed: false,
  });
});

t.test('kubeadm, stopped: what systemd would start it with', async (t) => {
  const facts = await read(t, { usr: kubeadmUnit, var: kubeadmState(`${HEAD}cpuManagerPolicy: static\n`) });
  t.match(facts, { pid: undefined, endpointByFlag: true, pointed: false, cpuManagerPolicy: 'static' });
  t.match(await read(t, { usr: kubeadmUnit }), { endpointByFlag: false }, 'before kubeadm join');
});

t.test('what holdfast install changed is not taken for how the kubelet was', async (t) => {
  const etc: Directory = { systemd: { system: { 'kubelet.service.d': { '99-holdfast.conf': OURS } } } };
  const facts = await read(t, {
    usr: kubeadmUnit,
    etc,
    var: kubeadmState(),
    proc: running('--config=/var/lib/kubelet/config.yaml', FLAG, ENDPOINT_FLAG),
  });
  t.match(facts, {
    unit: { commands: [KUBEADM_COMMAND] },
    endpoint: 'unix:///run/containerd/containerd.sock',
    pointed: true,
  });
  t.match(await read(t, { usr: kubeadmUnit, etc, var: kubeadmState() }), { pid: undefined, pointed: true }, 'stopped');
});

t.test('a kubelet that somebody pointed by the variable that ends its command uses the shim without us', async (t) => {
  const command = '/usr/bin/kubelet --v=2 $KUBELET_EXTRA_ARGS';
  const host = (args: string, dropIns: Readonly<Record<string, string>> = {}): Directory => ({
    default: { kubelet: `KUBELET_EXTRA_ARGS="${args}"\n` },
    systemd: {
      system: {
        'kubelet.service': `[Service]\nEnvironmentFile=-/etc/default/kubelet\nExecStart=${command}\n`,
        'kubelet.service.d': dropIns,
      },
    },
  });
  const byHand = { endpoint: 'unix:///run/holdfast/cri.sock', pointed: true };
  const proc = running('--v=2', ENDPOINT_FLAG);
  t.match(await read(t, { etc: host(ENDPOINT_FLAG), proc }), byHand);
  t.match(await read(t, { etc: host(ENDPOINT_FLAG) }), byHand, 'stopped, or an image');
  const ours = { '99-holdfast.conf': `[Service]\nExecStart=\nExecStart=${command} ${ENDPOINT_FLAG}\n` };
  const both = running('--v=2', ENDPOINT_FLAG, ENDPOINT_FLAG);
  t.match(
    await read(t, { etc: host(ENDPOINT_FLAG, ours), proc: both }),
    byHand,
    'both: ours alone is not enough to undo',
  );
  const byUs = { endpoint: 'unix:///run/containerd/containerd.sock', pointed: true };
  t.match(await read(t, { etc: host('', ours), proc }), byUs);
  t.match(await read(t, { etc: host(''), proc }), byUs, 'our drop-in was removed, the kubelet not restarted yet');
});

t.test('a kubelet that something else starts is never taken for pointed by us', async (t) => {
  const byHand = { endpoint: 'unix:///run/holdfast/cri.sock', pointed: true };
  const k0s = { cmdline: cmdline('/var/lib/k0s/bin/kubelet', '--v=1', ENDPOINT_FLAG) };
  t.match(await read(t, { proc: { 9: { ...k0s, cgroup: '0::/system.slice/k0sworker.service\n' } } }), {
    embedded: 'k0s',
    ...byHand,
  });
  const etc: Directory = {
    systemd: { system: { 'kubelet.service': '[Service]\nExecStart=/usr/local/bin/start.sh\n' } },
  };
  t.match(await read(t, { etc, proc: running(ENDPOINT_FLAG) }), byHand, 'a wrapper');
});

t.test('a folder of drop-ins, without and with ours', async (t) => {
  const words = ['--config=/etc/kubelet.yaml', '--config-dir=/etc/kubelet.d'];
  const ours = `${HEAD}containerRuntimeEndpoint: unix:///run/holdfast/cri.sock\n`;
  const host = (dropIns: Readonly<Record<string, string>>): Directory => ({
    etc: {
      'kubelet.yaml': `${HEAD}containerRuntimeEndpoint: unix:///run/containerd/containerd.sock\n`,
      'kubelet.d': dropIns,
      systemd: { system: { 'kubelet.service': `[Service]\nExecStart=/usr/bin/kubelet ${words.join(' ')}\n` } },
    },
    proc: running(...words),
  });
  const common = {
    endpoint: 'unix:///run/containerd/containerd.sock',
    endpointByFlag: false,
    configDirectory: '/etc/kubelet.d',
  };
  t.match(await read(t, host({})), { ...common, pointed: false, laterDropIn: undefined });
  t.match(await read(t, host({ '99-holdfast.conf': ours })), { ...common, pointed: true, laterDropIn: undefined });
  const later = await read(t, host({ '99-holdfast.conf': ours, 'zz.conf': ours.replace('holdfast/cri', 'other/x') }));
  t.match(later, { endpoint: 'unix:///run/other/x.sock', pointed: false, laterDropIn: '/etc/kubelet.d/zz.conf' });
});

t.test('drop-ins of one name: the first directory wins, and a link to /dev/null hides', async (t) => {
  const text = (flag: string): string => `[Service]\nExecStart=\nExecStart=/usr/bin/kubelet ${flag}\n`;
  const facts = await read(t, {
    usr: {
      lib: {
        systemd: {
          system: {
            'kubelet.service': '[Service]\nExecStart=/usr/bin/kubelet\n',
            'kubelet.service.d': { '10-a.conf': text('--v=1'), '20-b.conf': text('--v=2') },
          },
        },
      },
    },
    etc: {
      systemd: {
        system: {
          'kubelet.service.d': { '10-a.conf': text('--v=3'), '20-b.conf': t.fixture('symlink', '/dev/null') },
        },
      },
    },
  });
  t.strictSame(facts?.unit?.commands, ['/usr/bin/kubelet --v=3']);
});

t.test('a drop-in of the unit that is read after ours and has a command of its own', async (t) => {
  const host = (name: string, text: string): Directory => ({
    usr: kubeadmUnit,
    etc: { systemd: { system: { 'kubelet.service.d': { [name]: text, '99-holdfast.conf': OURS } } } },
  });
  const site = '[Service]\nExecStart=\nExecStart=/usr/bin/kubelet --site\n';
  t.match(await read(t, host('zz-site.conf', site)), {
    laterUnitDropIn: '/etc/systemd/system/kubelet.service.d/zz-site.conf',
    pointed: false,
  });
  t.match(await read(t, host('90-site.conf', site)), { laterUnitDropIn: undefined, pointed: true });
  t.match(await read(t, host('zz-site.conf', '[Service]\nNice=-5\n')), { laterUnitDropIn: undefined, pointed: true });
});

t.test('a masked unit is none', async (t) => {
  const etc = { systemd: { system: { 'kubelet.service': t.fixture('symlink', '/dev/null') } } };
  t.equal(await read(t, { usr: kubeadmUnit, etc }), undefined);
  t.match(await read(t, { usr: kubeadmUnit, etc, proc: running('--v=2') }), { pid: 812, unit: undefined });
});

t.test('distributions that bring the kubelet along', async (t) => {
  const k3s = await read(t, { proc: { 5: { cmdline: cmdline('/usr/local/bin/k3s', 'server') } } });
  t.match(k3s, { embedded: 'k3s', unit: undefined });
  const rke2 = await read(t, {
    proc: {
      9: { cmdline: cmdline('kubelet', '--config=/gone'), cgroup: '0::/system.slice/rke2-agent.service\n' },
    },
  });
  t.match(rke2, { embedded: 'RKE2' });
});

t.test('a kubelet that moved itself into another cgroup is still the main process of its unit', async (t) => {
  const proc = { 812: { cmdline: cmdline('/usr/bin/kubelet'), cgroup: '0::/kubelet\n' } };
  const tree = await openHostTree(t.testdir({ usr: kubeadmUnit, proc }));
  const systemd = (mainPid: number): Systemd => ({
    call: () => Promise.reject(new Error('nothing is to be changed')),
    stateOf: () => Promise.resolve({ active: 'active', mainPid, restarts: 0 }),
  });
  t.match(await readKubeletFacts(tree, signal, systemd(812)), { pid: 812, unit: { name: 'kubelet.service' } });
  t.match(await readKubeletFacts(tree, signal, systemd(813)), { pid: 812, unit: undefined }, 'another one');
});

t.test('a kubelet that nobody manages, and a host without one', async (t) => {
  const facts = await read(t, {
    proc: { 9: { cmdline: cmdline('/opt/kubelet'), cgroup: '0::/user.slice/session-3.scope\n' } },
  });
  t.match(facts, { pid: 9, unit: undefined });
  t.equal(await read(t, { proc: { 1: { cmdline: cmdline('/sbin/init') } } }), undefined);
  t.equal(await read(t, {}), undefined);
});
