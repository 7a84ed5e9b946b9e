// Installing, upgrading and uninstalling, each interrupted after every one of its steps: running it again completes it,
// uninstalling leaves nothing, and at no step the kubelet is without a runtime.
import t from 'tap';
import { AGENT_UNIT, LAYOUT, SHIM_UNIT } from '../../../agent/install/layout.ts';
import { isNothingToDo, planInstall, stepsOf } from '../../../agent/install/plan-install.ts';
import { planUninstall } from '../../../agent/install/plan-uninstall.ts';
import type { Step } from '../../../agent/install/step.ts';
import { type KubeletKind, ModelledHost, UNITS } from './modelled-host.ts';

const OPTIONS = { kubelet: true, overwrite: false };
const NEXT = '1.1.0-bbbbbbbbbbbb';
const NEXT_UNITS = new Map([...UNITS, [AGENT_UNIT, 'another agent unit\n']]);
const KINDS: readonly KubeletKind[] = ['none', 'unit', 'config-dir', 'stopped'];

type Plan = (host: ModelledHost) => readonly Step[];

const install: Plan = (host) => stepsOf(planInstall(host.facts(), host.wanted(), OPTIONS));
const upgrade: Plan = (host) => stepsOf(planInstall(host.facts(), host.wanted(NEXT, NEXT_UNITS), OPTIONS));
const uninstall: Plan = (host) => planUninstall(host.facts(), { keepState: false }).steps;

function carryOut(host: ModelledHost, steps: readonly Step[], count = steps.length): void {
  for (const step of steps.slice(0, count)) host.apply(step);
}

function hostAfter(kind: KubeletKind, ...plans: readonly Plan[]): ModelledHost {
  const host = new ModelledHost(kind);
  for (const plan of plans) carryOut(host, plan(host));
  return host;
}

for (const kind of KINDS) {
  t.test(`kubelet: ${kind}`, async (t) => {
    const empty = new ModelledHost(kind).state();
    const installed = hostAfter(kind, install);
    const upgraded = hostAfter(kind, install, upgrade);

    await t.test('what is installed needs nothing', async (t) => {
      t.ok(isNothingToDo(planInstall(installed.facts(), installed.wanted(), OPTIONS)));
      t.ok(isNothingToDo(planInstall(upgraded.facts(), upgraded.wanted(NEXT, NEXT_UNITS), OPTIONS)));
      t.notSame(upgraded.state(), installed.state(), 'the upgrade did something');
    });

    await t.test('what is uninstalled has left nothing', async (t) => {
      t.strictSame(hostAfter(kind, install, uninstall).state(), empty);
      t.strictSame(hostAfter(kind, install, upgrade, uninstall).state(), empty);
    });

    const interrupted: readonly (readonly [string, readonly Plan[], Plan, unknown])[] = [
      ['an installation', [], install, installed.state()],
      ['an upgrade', [install], upgrade, upgraded.state()],
      ['an uninstallation', [install], uninstall, empty],
    ];
    for (const [name, before, plan, end] of interrupted) {
      await t.test(`${name} that was interrupted`, async (t) => {
        const { length } = plan(hostAfter(kind, ...before));
        t.ok(length > 5, 'there are steps to be interrupted after');
        for (let count = 0; count < length; count += 1) {
          const host = (): ModelledHost => {
            const begun = hostAfter(kind, ...before);
            carryOut(begun, plan(begun), count);
            return begun;
          };
          const again = host();
          carryOut(again, plan(again));
          t.strictSame(again.state(), end, `after ${count} steps: running it again completes it`);
          const removed = host();
          carryOut(removed, uninstall(removed));
          t.strictSame(removed.state(), empty, `after ${count} steps: uninstalling leaves nothing`);
          const other = host();
          carryOut(other, install(other));
          t.ok(isNothingToDo(planInstall(other.facts(), other.wanted(), OPTIONS)), `after ${count}: installing works`);
        }
      });
    }
  });
}

t.test('an upgrade restarts the agent, then the shim, and never the socket nor the kubelet', async (t) => {
  const host = hostAfter('unit', install);
  host.calls.length = 0;
  carryOut(host, upgrade(host));
  t.strictSame(host.calls, [
    `/opt/holdfast/${NEXT}/bin/holdfast cri-shim --help`,
    'systemctl daemon-reload',
    'systemctl restart holdfast-agent.service',
    'systemctl restart holdfast-cri-shim.service',
  ]);
});

t.test('an upgrade starts the new program where the old one ends again and again', async (t) => {
  const host = hostAfter('unit', install);
  for (const unit of [AGENT_UNIT, SHIM_UNIT]) host.fail(unit);
  carryOut(host, upgrade(host));
  t.strictSame(host.state(), hostAfter('unit', install, upgrade).state());
});

t.test('a start that is under way is waited for', async (t) => {
  const facts = hostAfter('unit', install).facts();
  const services = new Map([...facts.services, [AGENT_UNIT, { state: 'activating', program: undefined }]]);
  const { starting } = planInstall({ ...facts, services }, hostAfter('unit', install).wanted(), OPTIONS);
  t.match(starting.steps, [{ do: 'run', args: ['start', AGENT_UNIT] }, { do: 'await-agent' }]);
});

t.test('a kubelet that is set up in another way meanwhile: the file that pointed it goes', async (t) => {
  for (const [from, to] of [
    ['unit', 'config-dir'],
    ['config-dir', 'unit'],
  ] as const) {
    const begin = (): ModelledHost => {
      const host = hostAfter(from, install);
      host.become(to);
      return host;
    };
    const { length } = install(begin());
    for (let count = 0; count <= length; count += 1) {
      const host = begin();
      carryOut(host, install(host), count);
      carryOut(host, install(host));
      t.strictSame(host.state(), hostAfter(to, install).state(), `${from} to ${to}, after ${count} steps`);
    }
    const host = begin();
    const { steps, starting, pointing } = planInstall(host.facts(), host.wanted(), OPTIONS);
    carryOut(host, [...steps, ...starting.steps, ...pointing.steps, ...pointing.undo]);
    carryOut(host, uninstall(host));
    t.strictSame(host.state(), new ModelledHost(to).state(), `${from} to ${to}, taken back`);
  }
});

t.test('an upgrade that does not come up is taken back', async (t) => {
  /** The upgrade up to where it fails. */
  const failed = (before: number): { readonly host: ModelledHost; readonly undo: readonly Step[] } => {
    const host = hostAfter('unit', install);
    carryOut(host, upgrade(host), before);
    host.breakProgram(NEXT);
    const { steps, starting } = planInstall(host.facts(), host.wanted(NEXT, NEXT_UNITS), OPTIONS);
    t.throws(() => carryOut(host, [...steps, ...starting.steps]), /does not come up/);
    return { host, undo: starting.undo };
  };
  const files = (host: ModelledHost) => [...host.paths].filter(([path]) => path !== LAYOUT.manifest);
  const installed = hostAfter('unit', install);
  const { length } = planInstall(installed.facts(), installed.wanted(NEXT, NEXT_UNITS), OPTIONS).steps;
  // The upgrade may itself have been interrupted before.
  for (let before = 0; before <= length; before += 1) {
    const { host, undo } = failed(before);
    carryOut(host, undo);
    t.strictSame(files(host), files(installed), `as it was, after ${before} steps and a second attempt`);
    t.strictSame(host.facts().services, installed.facts().services);
    t.notOk(host.isKubeletCutOff);
    t.match(host.facts().manifest, { program: installed.wanted().target, kubelet: { unit: 'kubelet.service' } });
    if (before === 0) t.strictSame(host.facts().manifest, installed.facts().manifest);
    const { steps, starting, pointing } = planInstall(host.facts(), host.wanted(), OPTIONS);
    t.strictSame(starting.undo, [], 'there is nothing to go back to any more');
    carryOut(host, [...steps, ...starting.steps, ...pointing.steps]);
    carryOut(host, uninstall(host));
    t.strictSame(host.state(), new ModelledHost('unit').state());
  }
  for (let count = 0; count < failed(0).undo.length; count += 1) {
    const again = failed(0);
    carryOut(again.host, again.undo, count);
    carryOut(again.host, install(again.host));
    t.strictSame(
      files(again.host),
      files(installed),
      `interrupted after ${count} steps: installing the old version works`,
    );
    t.strictSame(again.host.facts().services, installed.facts().services);
  }
});

t.test('where nothing was in use there is nothing to go back to; an image starts nothing', async (t) => {
  const empty = new ModelledHost('unit');
  t.strictSame(planInstall(empty.facts(), empty.wanted(), OPTIONS).starting.undo, []);
  const host = hostAfter('unit', install);
  const image = planInstall({ ...host.facts(), isLive: false }, host.wanted(NEXT, NEXT_UNITS), OPTIONS);
  t.strictSame(image.starting, { steps: [], undo: [] });
  t.notOk(image.steps.some((step) => step.do === 'run'));
});

t.test('the version before is kept to go back to, older ones are removed', async (t) => {
  const third: Plan = (host) => stepsOf(planInstall(host.facts(), host.wanted('1.2.0-cccccccccccc'), OPTIONS));
  const host = hostAfter('none', install, upgrade, third);
  t.strictSame([...host.programs].sort(), [NEXT, '1.2.0-cccccccccccc']);
});

t.test('an upgrade that was interrupted before it copied anything is not what one can go back to', async (t) => {
  const host = hostAfter('none', install);
  carryOut(host, upgrade(host), 1);
  carryOut(host, stepsOf(planInstall(host.facts(), host.wanted('1.2.0-cccccccccccc'), OPTIONS)));
  t.strictSame([...host.programs].sort(), ['1.0.0-aaaaaaaaaaaa', '1.2.0-cccccccccccc']);
  t.equal(host.facts().manifest?.previous, host.wanted().target);
});

t.test('a kubelet that does not come up is pointed back as it was; trying again only points it', async (t) => {
  for (const kind of ['unit', 'config-dir'] as const) {
    const host = new ModelledHost(kind);
    const { steps, starting, pointing } = planInstall(host.facts(), host.wanted(), OPTIONS);
    carryOut(host, [...steps, ...starting.steps]);
    host.paths.delete(LAYOUT.manifest);
    const before = host.state();
    for (let count = 1; count <= pointing.steps.length; count += 1) {
      carryOut(host, pointing.steps, count);
      carryOut(host, pointing.undo);
      const manifest = host.facts().manifest;
      t.match(manifest, { phase: 'done', kubelet: undefined }, 'what is installed is complete without it');
      const again = planInstall(host.facts(), host.wanted(), OPTIONS);
      t.strictSame(
        [...again.steps, ...again.starting.steps].filter((step) => step.do !== 'record'),
        [{ do: 'await-shim' }],
      );
      t.ok(again.pointing.steps.length > 0);
      host.paths.delete(LAYOUT.manifest);
      t.strictSame(host.state(), before, `${kind}, after ${count} steps`);
    }
  }
});
