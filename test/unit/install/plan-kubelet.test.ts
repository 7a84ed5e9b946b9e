// How kubelets of every kind are pointed at the shim, or why they are not.
import t from 'tap';
import type { KubeletFacts } from '../../../agent/install/kubelet-facts.ts';
import { ENDPOINT_FLAG, planKubelet } from '../../../agent/install/plan-kubelet.ts';

const COMMAND =
  '/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS';

const KUBEADM: KubeletFacts = {
  embedded: undefined,
  pid: 812,
  unit: { name: 'kubelet.service', commands: [COMMAND] },
  endpoint: 'unix:///run/containerd/containerd.sock',
  endpointByFlag: true,
  configDirectory: undefined,
  laterDropIn: undefined,
  laterUnitDropIn: undefined,
  pointed: false,
  cpuManagerPolicy: 'none',
};

const DROP_IN = '/etc/systemd/system/kubelet.service.d/99-holdfast.conf';

t.test(
  'kubeadm: a drop-in repeats the command with the flag at its end, where it wins over kubeadm-flags.env',
  async (t) => {
    const plan = planKubelet(KUBEADM, true);
    t.match(plan, {
      kind: 'point',
      unit: 'kubelet.service',
      isUnitFile: true,
      upstream: '/run/containerd/containerd.sock',
    });
    if (plan.kind !== 'point') return;
    t.equal(plan.file.path, DROP_IN);
    const lines = plan.file.text.split('\n');
    t.same(lines.slice(lines.indexOf('ExecStart=')), ['ExecStart=', `ExecStart=${COMMAND} ${ENDPOINT_FLAG}`, '']);
  },
);

t.test('a plain --config without a folder of drop-ins: the flag, which wins over the file', async (t) => {
  const plan = planKubelet({ ...KUBEADM, endpointByFlag: false }, true);
  t.match(plan, { kind: 'point', isUnitFile: true, file: { path: DROP_IN } });
});

t.test('a folder of drop-ins: a file there, and the unit stays as it is', async (t) => {
  const facts = { ...KUBEADM, endpointByFlag: false, configDirectory: '/etc/kubernetes/kubelet.conf.d' };
  t.match(planKubelet(facts, true), {
    kind: 'point',
    isUnitFile: false,
    unit: 'kubelet.service',
    file: {
      path: '/etc/kubernetes/kubelet.conf.d/99-holdfast.conf',
      text: /^kind: KubeletConfiguration\ncontainerRuntimeEndpoint: unix:\/\/\/run\/holdfast\/cri\.sock$/m,
    },
  });
});

t.test('a folder of drop-ins does not help where a flag or a later file wins', async (t) => {
  const configDirectory = '/etc/kubernetes/kubelet.conf.d';
  t.match(planKubelet({ ...KUBEADM, configDirectory }, true), { file: { path: DROP_IN } });
  const later = { ...KUBEADM, endpointByFlag: false, configDirectory, laterDropIn: `${configDirectory}/zz.conf` };
  t.match(planKubelet(later, true), { file: { path: DROP_IN } });
});

t.test('the upstream is where the kubelet finds its runtime now', async (t) => {
  for (const [endpoint, upstream] of [
    ['unix:///var/run/containerd/containerd.sock', '/run/containerd/containerd.sock'],
    ['/run/containerd/containerd.sock', '/run/containerd/containerd.sock'],
    ['unix:/srv//runtime/containerd.sock', '/srv/runtime/containerd.sock'],
  ] as const) {
    t.match(planKubelet({ ...KUBEADM, endpoint }, true), { kind: 'point', upstream, endpoint });
  }
});

t.test('a unit of another name gets the drop-in', async (t) => {
  const unit = { name: 'my-kubelet.service', commands: ['/opt/bin/kubelet --v=2'] };
  t.match(planKubelet({ ...KUBEADM, unit }, true), {
    unit: 'my-kubelet.service',
    file: { path: '/etc/systemd/system/my-kubelet.service.d/99-holdfast.conf' },
  });
});

const refused: readonly (readonly [string, Partial<KubeletFacts>, RegExp])[] = [
  ['k3s', { embedded: 'k3s' }, /part of k3s/],
  ['RKE2', { embedded: 'RKE2' }, /part of RKE2/],
  ['CRI-O', { endpoint: 'unix:///var/run/crio/crio.sock' }, /CRI-O.*no data kept/],
  ['Docker', { endpoint: 'unix:///run/cri-dockerd.sock' }, /cri-dockerd.*no data kept/],
  ['a TCP endpoint', { endpoint: 'tcp://127.0.0.1:3735' }, /not a unix socket/],
  ['no service of systemd', { unit: undefined }, /no service of systemd/],
  ['a wrapper', { unit: { name: 'kubelet.service', commands: ['/usr/local/bin/start.sh'] } }, /by way of .*start\.sh/],
  ['a shell', { unit: { name: 'kubelet.service', commands: ['/bin/sh -c "exec kubelet"'] } }, /by way of \/bin\/sh/],
  [
    'a drop-in that wins over ours',
    { laterUnitDropIn: '/etc/systemd/system/kubelet.service.d/zz.conf' },
    /zz\.conf sets/,
  ],
  ['no command', { unit: { name: 'kubelet.service', commands: [] } }, /no ExecStart/],
  ['two commands', { unit: { name: 'kubelet.service', commands: [COMMAND, COMMAND] } }, /more than one/],
  ['a list of commands', { unit: { name: 'kubelet.service', commands: [`${COMMAND} ; /bin/true`] } }, /more than one/],
  ['arguments after --', { unit: { name: 'kubelet.service', commands: [`${COMMAND} -- x`] } }, /"--"/],
];

for (const [name, change, why] of refused) {
  t.test(`refused, with what would work: ${name}`, async (t) => {
    const plan = planKubelet({ ...KUBEADM, ...change }, true);
    t.match(plan, { kind: 'refuse', blocker: { text: why, remedy: /--no-kubelet/ } });
  });
}

t.test('left alone: no kubelet, pointed by hand, or not wanted', async (t) => {
  t.match(planKubelet(undefined, true), { kind: 'leave', why: /no kubelet/ });
  t.match(planKubelet({ ...KUBEADM, endpoint: 'unix:///run/holdfast/cri.sock' }, true), {
    kind: 'leave',
    why: /other means/,
  });
  t.match(planKubelet({ ...KUBEADM, embedded: 'k3s' }, false), { kind: 'leave', why: /--no-kubelet/ });
});
