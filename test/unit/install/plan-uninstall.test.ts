// Uninstalling by what is found on the host, also where the manifest is lost or the kubelet was pointed by hand.
import t from 'tap';
import { LAYOUT } from '../../../agent/install/layout.ts';
import { planInstall, stepsOf } from '../../../agent/install/plan-install.ts';
import { planUninstall } from '../../../agent/install/plan-uninstall.ts';
import { ModelledHost } from './modelled-host.ts';

function installed(): ModelledHost {
  const host = new ModelledHost('unit');
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
  t.match(steps.at(-1), { do: 'remove-tree', path: LAYOUT.programs }, 'the program goes last');
});

t.test('a lost manifest keeps nothing from being removed', async (t) => {
  const host = installed();
  host.paths.delete(LAYOUT.manifest);
  for (const step of planUninstall(host.facts(), { keepState: false }).steps) host.apply(step);
  t.strictSame([...host.paths], []);
  t.notOk(host.isKubeletCutOff);
});

t.test('kept state: layers, records and configuration stay', async (t) => {
  const host = installed();
  const { steps } = planUninstall(host.facts(), { keepState: true });
  t.notOk(steps.some((step) => step.do === 'drop-layers'));
  for (const step of steps) host.apply(step);
  t.strictSame([...host.paths.keys()].sort(), [LAYOUT.configuration, LAYOUT.config, LAYOUT.state].sort());
});

t.test('refused while the kubelet uses the shim by other means', async (t) => {
  const facts = installed().facts();
  const kubelet = facts.kubelet && { ...facts.kubelet, endpoint: 'unix:///run/holdfast/cri.sock' };
  const plan = planUninstall({ ...facts, kubelet }, { keepState: false });
  t.match(plan.blockers, [{ text: /would have no runtime/ }]);
});

t.test('a kubelet that assigns CPUs itself says so again once the agent is gone', async (t) => {
  const facts = installed().facts();
  const kubelet = facts.kubelet && { ...facts.kubelet, cpuManagerPolicy: 'static' };
  const { steps } = planUninstall({ ...facts, kubelet }, { keepState: false });
  const after = steps.slice(steps.findIndex((step) => step.do === 'release-cpus') + 1);
  t.match(after[0], { do: 'run', args: ['restart', 'kubelet.service'] });
});
