// Doctor's view of an installation, and of what one needs beforehand.
import t from 'tap';
import { checkInstallation } from '../../../../agent/cli/doctor-checks/installation.ts';
import {
  blockersOfFindings,
  checkNodeVersion,
  warningsOfFindings,
} from '../../../../agent/cli/doctor-checks/prerequisites.ts';
import { AGENT_UNIT, LAYOUT } from '../../../../agent/install/layout.ts';
import { planInstall, stepsOf } from '../../../../agent/install/plan-install.ts';
import { ModelledHost } from '../../install/modelled-host.ts';

const OPTIONS = { kubelet: true, overwrite: false };

function installed(): ModelledHost {
  const host = new ModelledHost('unit');
  for (const step of stepsOf(planInstall(host.facts(), host.wanted(), OPTIONS))) host.apply(step);
  return host;
}

const check = (host: ModelledHost) =>
  checkInstallation(host.facts().manifest, planInstall(host.facts(), host.wanted(), OPTIONS));

t.test('as it was installed, and none at all', async (t) => {
  t.match(check(installed()), [{ level: 'ok', text: /as it was installed/ }]);
  t.match(checkInstallation(undefined, undefined), [{ level: 'ok', text: /none/ }]);
});

t.test('a unit that is gone, disabled or edited, a stopped service', async (t) => {
  const gone = installed();
  gone.paths.delete(`${LAYOUT.units}/${AGENT_UNIT}`);
  t.match(check(gone), [{ level: 'warning', text: /write .*holdfast-agent\.service/ }]);
  const disabled = installed();
  disabled.paths.delete(`${LAYOUT.units}/multi-user.target.wants/${AGENT_UNIT}`);
  t.match(check(disabled), [{ level: 'warning', text: /link .*multi-user\.target\.wants/ }]);
  const edited = installed();
  edited.paths.set(`${LAYOUT.units}/${AGENT_UNIT}`, { kind: 'file', text: 'mine\n', mode: 0o644 });
  t.match(check(edited), [{ level: 'warning', text: /was changed since it was installed/ }]);
  const stopped = installed();
  stopped.apply({ do: 'run', program: 'systemctl', args: ['stop', AGENT_UNIT] });
  t.match(check(stopped), [{ level: 'warning', text: /systemctl start holdfast-agent/ }]);
});

t.test('another version runs than the one that is installed', async (t) => {
  const host = installed();
  const facts = host.facts();
  const services = new Map([
    ...facts.services,
    [AGENT_UNIT, { state: 'active', program: '/opt/holdfast/0.9.0-000000000000' }],
  ]);
  const plan = planInstall({ ...facts, services }, host.wanted(), OPTIONS);
  t.match(checkInstallation(facts.manifest, plan), [{ level: 'warning', text: /systemctl restart holdfast-agent/ }]);
});

t.test('the kubelet was pointed elsewhere meanwhile, or an installation interrupted', async (t) => {
  const host = installed();
  const facts = host.facts();
  const kubelet = facts.kubelet && { ...facts.kubelet, pointed: false };
  const plan = planInstall({ ...facts, kubelet }, host.wanted(), OPTIONS);
  t.match(checkInstallation(facts.manifest, plan), [{ level: 'warning', text: /restart kubelet\.service/ }]);
  const begun = facts.manifest && { ...facts.manifest, phase: 'installing' as const };
  t.match(checkInstallation(begun, plan), [{ level: 'failed', text: /interrupted/ }]);
});

t.test('what stands in the way of an installation', async (t) => {
  const finding = (level: 'failed' | 'warning', subject: string) => ({ level, subject, text: 'x', remedy: 'y' });
  const findings = [
    finding('failed', 'cgroups'),
    finding('warning', 'kubelet CPU manager'),
    finding('failed', 'agent'),
  ];
  t.strictSame(blockersOfFindings(findings), [{ text: 'cgroups: x', remedy: 'y' }]);
  const endpoint = finding('warning', 'kubelet runtime endpoint');
  t.match(
    warningsOfFindings([...findings, endpoint]),
    [{ subject: 'kubelet CPU manager' }],
    'not what installing mends',
  );
});

t.test('the Node.js of the services', async (t) => {
  for (const version of ['v20.19.2\n', 'v22.1.0', 'v24.0.0']) t.strictSame(checkNodeVersion(version), [], version);
  for (const version of ['v18.19.0', 'v20.18.3', 'garbage', undefined])
    t.equal(checkNodeVersion(version).length, 1, `${version}`);
});
