// Uninstalling by what is found on the host, also where the manifest is lost or the kubelet was pointed by hand.
import t from 'tap';
import { AGENT_UNIT, LAYOUT, SHIM_UNIT } from '../../../agent/install/layout.ts';
import { planInstall, stepsOf } from '../../../agent/install/plan-install.ts';
import { planUninstall } from '../../../agent/install/plan-uninstall.ts';
import { type KubeletKind, ModelledHost } from './modelled-host.ts';

function installed(kind: KubeletKind = 'unit'): ModelledHost {
  const host = new ModelledHost(kind);
  for (const step of stepsOf(planInstall(host.facts(), host.wanted(), { kubelet: true, overwrite: false })))
    host.apply(step);
  return host;
}

t.test('the kubelet goes back before the shim stops; CPUs are given back after the agent stopped', async (t) => {
  const host = installed();
  const { steps } = planUninstall(host.facts(), { keepState: false });
  const at = (what: string): number =>
    steps.findIndex((step) => `${step.do} ${'args' in step ? step.args.join(' ') : ''}`.startsWith(what));
  t.ok(at('await-kubelet') < at('run stop holdfast-cri-shim'));
  t.ok(at('run stop holdfast-agent') < at('release-cpus'));
  t.ok(at('release-cpus') < at('drop-layers'));
  t.match(steps.at(-1), { do: 'remove-tree', path: LAYOUT.state }, 'the manifest goes last');
});

t.test('a lost manifest keeps nothing from being removed', async (t) => {
  const host = installed();
  host.paths.delete(LAYOUT.manifest);
  for (const step of planUninstall(host.facts(), { keepState: false }).steps) host.apply(step);
  t.strictSame([...host.paths], []);
  t.notOk(host.isKubeletCutOff);
});

t.test('the runtime is the one of the manifest to the end, else the one of the kubelet', async (t) => {
  const endpoint = 'unix:///run/k3s/containerd/containerd.sock';
  const host = installed();
  const facts = () => {
    const { configuredRuntime: _, kubelet, ...rest } = host.facts();
    return { ...rest, configuredRuntime: undefined, kubelet: kubelet && { ...kubelet, endpoint } };
  };
  for (const step of stepsOf(planInstall(facts(), host.wanted(), { kubelet: true, overwrite: false })))
    host.apply(step);
  const { steps } = planUninstall(facts(), { keepState: false });
  for (const step of steps) {
    const again = planUninstall({ ...facts(), kubelet: undefined }, { keepState: false }).steps;
    const runtimes = again.flatMap((each) => (each.do === 'release-cpus' ? [each.runtime] : []));
    t.strictSame(runtimes, ['/run/k3s/containerd/containerd.sock'], `before: ${step.do}`);
    host.apply(step);
  }
  t.match(
    planUninstall(facts(), { keepState: false }).steps.find((step) => step.do === 'release-cpus'),
    { runtime: '/run/k3s/containerd/containerd.sock' },
    'of a host that has lost its manifest',
  );
});

t.test('without the runtime nothing is asked of it, and all else is done', async (t) => {
  const host = installed();
  const { steps } = planUninstall(host.facts(), { keepState: false, withoutRuntime: true });
  for (const step of steps) host.apply(step);
  t.strictSame([...host.paths], []);
  t.ok(host.hasConfinedContainers, 'which is why it has to be asked for');
  t.notOk(steps.some((step) => step.do === 'drop-layers' || step.do === 'release-cpus'));
});

t.test('services that end again and again are stopped too', async (t) => {
  const host = installed();
  for (const unit of [AGENT_UNIT, SHIM_UNIT]) host.fail(unit);
  for (const step of planUninstall(host.facts(), { keepState: false }).steps) host.apply(step);
  t.strictSame(host.state(), new ModelledHost('unit').state());
});

t.test('a lost manifest and --overwrite do not make our own file what was there before', async (t) => {
  for (const kind of ['unit', 'config-dir'] as const) {
    const host = installed(kind);
    const path = [...host.paths.keys()].find((each) => each.endsWith('/99-holdfast.conf')) ?? '';
    const found = host.paths.get(path);
    const text = found?.kind === 'file' ? `${found.text}# of another version\n` : '';
    host.paths.set(path, { kind: 'file', text, mode: 0o644 });
    host.paths.delete(LAYOUT.manifest);
    const again = planInstall(host.facts(), host.wanted(), { kubelet: true, overwrite: true });
    for (const step of stepsOf(again)) host.apply(step);
    const { manifest } = host.facts();
    t.equal(manifest?.files[path]?.before, undefined);
    // As a manifest may be that was written before this was so.
    const files = { ...manifest?.files, [path]: { digests: [], before: { text, mode: 0o644 } } };
    const facts = host.facts();
    const plan = planUninstall({ ...facts, manifest: manifest && { ...manifest, files } }, { keepState: false });
    for (const step of plan.steps) host.apply(step);
    t.strictSame([...host.paths], []);
    t.equal(host.facts().kubelet?.pointed, false);
  }
});

t.test('kept state: layers, records and configuration stay', async (t) => {
  const host = installed();
  const { steps } = planUninstall(host.facts(), { keepState: true });
  t.notOk(steps.some((step) => step.do === 'drop-layers'));
  for (const step of steps) host.apply(step);
  t.strictSame([...host.paths.keys()].sort(), [LAYOUT.configuration, LAYOUT.config, LAYOUT.state].sort());
  t.notOk(host.hasConfinedContainers, 'nobody stays confined');
});

t.test('refused while the kubelet uses the shim by other means', async (t) => {
  const facts = installed().facts();
  const kubelet = facts.kubelet && { ...facts.kubelet, endpoint: 'unix:///run/holdfast/cri.sock' };
  const plan = planUninstall({ ...facts, kubelet }, { keepState: false });
  t.match(plan.blockers, [{ text: /would have no runtime/ }]);
});

t.test('refused while the kubelet uses the shim and nothing of ours says so', async (t) => {
  const host = new ModelledHost('unit');
  for (const step of stepsOf(planInstall(host.facts(), host.wanted(), { kubelet: false, overwrite: false })))
    host.apply(step);
  const facts = host.facts();
  const pointed = facts.kubelet && { ...facts.kubelet, pointed: true };
  const plan = planUninstall({ ...facts, kubelet: pointed }, { keepState: false });
  t.match(plan.blockers, [{ text: /by other means/ }]);
  const manifest = facts.manifest && { ...facts.manifest, phase: 'uninstalling' as const };
  const begun = planUninstall({ ...facts, kubelet: pointed, manifest }, { keepState: false });
  t.match(begun.blockers, [{ text: /by other means/ }], 'an interruption alone does not make it ours');
});

t.test('a kubelet whose settings cannot be seen: refused until somebody says that it is pointed back', async (t) => {
  const facts = installed().facts();
  const k3s = facts.kubelet && { ...facts.kubelet, embedded: 'k3s' as const, pointed: false, unit: undefined };
  const paths = new Map([...facts.paths].filter(([path]) => !path.endsWith('/99-holdfast.conf')));
  const host = { ...facts, manifest: undefined, paths, kubelet: k3s };
  t.match(planUninstall(host, { keepState: false }).blockers, [
    { text: /part of k3s/, remedy: /--kubelet-pointed-back/ },
  ]);
  const said = { keepState: false, kubeletPointedBack: true };
  t.strictSame(planUninstall(host, said).blockers, []);
  const seen = { ...host, kubelet: k3s && { ...k3s, pointed: true } };
  t.match(planUninstall(seen, said).blockers, [{ text: /by other means/ }], 'what can be seen counts more');
});

t.test('a kubelet that assigns CPUs itself says so again once the agent is gone', async (t) => {
  const facts = installed().facts();
  const kubelet = facts.kubelet && { ...facts.kubelet, cpuManagerPolicy: 'static' };
  const { steps } = planUninstall({ ...facts, kubelet }, { keepState: false });
  const after = steps.slice(steps.findIndex((step) => step.do === 'release-cpus') + 1);
  t.match(after[0], { do: 'run', args: ['restart', 'kubelet.service'] });
});
