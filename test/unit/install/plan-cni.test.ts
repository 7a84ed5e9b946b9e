// The CNI plugin and the network of new pods: placed, replaced, left alone, and interrupted after every step.
import t from 'tap';
import { NO_CNI } from '../../../agent/install/cni-facts.ts';
import type { InstallFacts } from '../../../agent/install/facts.ts';
import { type CniOptions, needsCompiler, planCni } from '../../../agent/install/plan-cni.ts';
import { type InstallPlan, isNothingToDo, planInstall, stepsOf } from '../../../agent/install/plan-install.ts';
import { planUninstall } from '../../../agent/install/plan-uninstall.ts';
import type { Step } from '../../../agent/install/step.ts';
import { isRenderedNetwork, PLUGIN_SCRIPT, renderNetwork } from '../../../agent/install/wanted-cni.ts';
import { launcherMarkOf, ModelledHost, NETWORK, PLUGIN } from './modelled-host.ts';

const COMPILER = { compiler: { program: 'cc', linking: 'static-pie' } } as const;
const NO_COMPILER = { compiler: { problem: 'none of cc is installed' } };
const BRIDGE = { network: { name: 'pods', mode: 'bridge' } } as const;
const NEXT = '1.1.0-bbbbbbbbbbbb';

function planned(host: ModelledHost, cni: CniOptions = {}, version?: string, overwrite = false): InstallPlan {
  return planInstall(host.facts(), host.wanted(version), { kubelet: true, overwrite, cni });
}

function hostWith(...pools: readonly string[]): ModelledHost {
  const host = new ModelledHost('unit');
  host.pools = pools;
  return host;
}

function installed(cni: CniOptions, pools: readonly string[] = ['pods']): ModelledHost {
  const host = hostWith(...pools);
  carryOut(host, stepsOf(planned(host, cni)));
  return host;
}

function carryOut(host: ModelledHost, steps: readonly Step[], count = steps.length): void {
  for (const step of steps.slice(0, count)) host.apply(step);
}

const removal = (host: ModelledHost) => planUninstall(host.facts(), { keepState: false, traces: host.traces });

const ofCni = (steps: readonly Step[]) =>
  steps.filter((step) => 'path' in step && (step.path === PLUGIN || step.path === NETWORK));

t.test('without pools nothing of it is done or said, unless it is asked for', async (t) => {
  const plan = planned(hostWith(), COMPILER);
  t.strictSame([ofCni(stepsOf(plan)), plan.notes], [[], []]);
  t.match(ofCni(stepsOf(planned(hostWith(), { plugin: 'node' }))), [{ do: 'write', path: PLUGIN }]);
  t.match(planned(hostWith(), BRIDGE).blockers, [{ text: /has no pools/, remedy: /network\.pools/ }]);
});

t.test('the launcher where it can be compiled, else the Node form; the plan says which and why', async (t) => {
  const launcher = planned(hostWith('pods'), COMPILER);
  t.match(ofCni(stepsOf(launcher)), [
    { do: 'place-launcher', source: /^\/opt\/holdfast\/.*launcher\.c$/, note: 'with cc, linked statically' },
  ]);
  const script = planned(hostWith('pods'), NO_COMPILER);
  t.match(ofCni(stepsOf(script)), [
    { do: 'write', path: PLUGIN, mode: 0o755, note: /starts slower: none of cc is installed/ },
  ]);
  t.match(launcher.notes.join(), /no network of the runtime uses the CNI plugin yet.*--cni-network=<name>/);
  t.match(planned(hostWith('pods'), { plugin: 'launcher', ...NO_COMPILER }).blockers, [
    { text: /cannot be compiled: none of cc/, remedy: /--cni-plugin=node/ },
  ]);
  const none = planned(hostWith('pods'), { plugin: 'none' });
  t.strictSame(ofCni(stepsOf(none)), []);
  t.match(none.notes, [/not placed, as --cni-plugin=none says/]);
  t.match(planned(hostWith('pods'), { plugin: 'none', ...BRIDGE }).blockers, [{ text: /--cni-network needs/ }]);
});

t.test('the plugin comes once the agent answers, and the network after the plugin', async (t) => {
  const { finish, steps, starting } = planned(hostWith('pods'), { ...COMPILER, ...BRIDGE });
  t.strictSame(ofCni([...steps, ...starting.steps]), []);
  t.match(ofCni(finish), [{ do: 'place-launcher' }, { do: 'write', path: NETWORK }]);
});

t.test('what is in place stays, whatever becomes of the compiler', async (t) => {
  t.ok(isNothingToDo(planned(installed(COMPILER), NO_COMPILER)), 'a launcher');
  t.ok(isNothingToDo(planned(installed(NO_COMPILER), COMPILER)), 'the Node form');
  const chosen = installed({ plugin: 'node', ...COMPILER });
  t.ok(isNothingToDo(planned(chosen, COMPILER)), 'the Node form, as it was chosen');
  t.match(ofCni(stepsOf(planned(chosen, { plugin: 'launcher', ...COMPILER }))), [{ do: 'place-launcher' }]);
  const none = installed({ plugin: 'none' });
  t.ok(isNothingToDo(planned(none, COMPILER)), 'none, as it was chosen');
});

t.test('an upgrade replaces a launcher of another source, and not the Node form, which goes by the link', async (t) => {
  const host = installed(COMPILER);
  t.match(ofCni(stepsOf(planned(host, COMPILER, NEXT))), [{ do: 'place-launcher', isThere: true }]);
  t.match(ofCni(stepsOf(planned(host, NO_COMPILER, NEXT))), [{ do: 'write', text: PLUGIN_SCRIPT }]);
  t.strictSame(ofCni(stepsOf(planned(installed(NO_COMPILER), NO_COMPILER, NEXT))), []);
});

t.test('a compiler is looked for only where the plan depends on it', async (t) => {
  const needs = (host: ModelledHost, options: CniOptions, target = host.wanted().target) =>
    needsCompiler(host.facts(), launcherMarkOf(target), options);
  t.ok(needs(hostWith('pods'), {}));
  t.notOk(needs(hostWith(), {}), 'no pools');
  t.notOk(needs(hostWith('pods'), { plugin: 'node' }));
  t.notOk(needs(installed(COMPILER), {}), 'it is there');
  t.ok(needs(installed(COMPILER), {}, `/opt/holdfast/${NEXT}`));
  t.notOk(needs(installed(NO_COMPILER), {}), 'the Node form stays');
  t.ok(needs(installed(NO_COMPILER), { plugin: 'launcher' }));
});

t.test("somebody else's plugin stands in the way; what people made of ours, until they say otherwise", async (t) => {
  const withPlugin = (text: string): ModelledHost => {
    const host = hostWith('pods');
    host.paths.set(PLUGIN, { kind: 'file', text, mode: 0o755 });
    return host;
  };
  const foreign = withPlugin('#!/bin/sh\nexec something\n');
  for (const overwrite of [false, true]) {
    t.match(planned(foreign, COMPILER, undefined, overwrite).blockers, [{ text: /somebody else's/ }]);
  }
  const byHand = withPlugin('\u007FELF … holdfast-cni/1 %zu');
  t.match(planned(byHand, COMPILER).blockers, [{ text: /put there by hand/, remedy: /--overwrite/ }]);
  t.match(ofCni(stepsOf(planned(byHand, COMPILER, undefined, true))), [{ do: 'place-launcher', isThere: true }]);
  const edited = withPlugin(`${PLUGIN_SCRIPT}# mine\n`);
  t.match(planned(edited, NO_COMPILER).blockers, [{ text: /was changed since/, remedy: /--overwrite/ }]);
  t.match(removal(edited).notes, [/was changed since it was installed and stays/]);
  t.match(removal(byHand).notes, [/put there by hand and stays/]);
  for (const host of [foreign, byHand, edited]) t.strictSame(ofCni(removal(host).steps), []);
});

t.test('a directory of plugins that is not there, cannot be written, or cannot be known', async (t) => {
  const facts = (cni: Partial<InstallFacts['cni']>): InstallFacts => ({
    ...hostWith('pods').facts(),
    cni: { ...NO_CNI, pools: ['pods'], ...cni },
  });
  const blockers = (cni: Partial<InstallFacts['cni']>, options: CniOptions = COMPILER) =>
    planCni(facts(cni), { target: '/opt/holdfast/x', launcherMark: 'm' }, options, false).blockers;
  t.match(blockers({}), [{ text: /\/opt\/cni\/bin, where the runtime looks .* is not there/, remedy: /bin_dir/ }]);
  t.strictSame(blockers({}, { plugin: 'none' }), []);
  const readOnly = new Map([['/opt/cni/bin', { isWritable: false }]]);
  t.match(blockers({ present: readOnly }), [{ text: 'nothing can be written into /opt/cni/bin' }]);
  const directories = { ...NO_CNI.directories, problem: 'line 3: expected "="' };
  t.match(blockers({ directories }), [{ text: /cannot be read: line 3/ }]);
});

t.test('of several directories the first that is there', async (t) => {
  const cni = {
    ...NO_CNI,
    pools: ['pods'],
    directories: { ...NO_CNI.directories, plugins: ['/a', '/b', '/c'] },
    present: new Map(['/b', '/c'].map((path) => [path, { isWritable: true }])),
  };
  const facts = { ...hostWith('pods').facts(), cni };
  t.match(planCni(facts, { target: '/x', launcherMark: 'm' }, COMPILER, false).steps, [{ path: '/b/holdfast' }]);
});

t.test('the network is placed when it is asked for, and then left alone', async (t) => {
  const host = installed({ ...COMPILER, ...BRIDGE });
  const found = host.paths.get(NETWORK);
  const text = found?.kind === 'file' ? found.text : '';
  t.match(JSON.parse(text), {
    cniVersion: '1.0.0',
    name: 'pods',
    plugins: [
      {
        type: 'holdfast',
        mode: 'bridge',
        bridge: 'holdfast0',
        capabilities: { 'io.kubernetes.cri.pod-annotations': true },
      },
      { type: 'portmap', capabilities: { portMappings: true } },
      { type: 'bandwidth', capabilities: { bandwidth: true } },
    ],
  });
  t.strictSame(planned(host).notes, [], 'nothing remains to be done');
  t.ok(isNothingToDo(planned(host, BRIDGE)));
  host.paths.delete(NETWORK);
  t.ok(isNothingToDo(planned(host)), 'whoever takes it away does not get it back unasked');
  const routed = { network: { name: 'pods', mode: 'routed' } } as const;
  carryOut(host, stepsOf(planned(host, routed)));
  t.match(ofCni(stepsOf(planned(host, BRIDGE))), [{ do: 'write', path: NETWORK, before: { text: /routed/ } }]);
});

t.test('the network has the plugins that the runtime has, and the pool that it is named after', async (t) => {
  const host = hostWith('a', 'b');
  host.otherPlugins = ['loopback', 'portmap'];
  const plan = planned(host, { ...COMPILER, network: { name: 'b', mode: 'routed' } });
  const [, write] = ofCni(plan.finish);
  const text = write?.do === 'write' ? write.text : '';
  const [own, ...others] = (JSON.parse(text) as { plugins: readonly Record<string, unknown>[] }).plugins;
  t.match(own, { type: 'holdfast', mode: 'routed', pool: 'b' });
  t.notOk('bridge' in (own ?? {}), 'which is for the other mode only');
  t.match(others, [{ type: 'portmap' }]);
  t.equal(others.length, 1);
  t.match(plan.notes.join(), /without bandwidth/);
  t.match(planned(host, { ...COMPILER, ...BRIDGE }).blockers, [{ text: /several \(a, b\)/, remedy: /defaultPool/ }]);
});

t.test("somebody else's network at our path is never replaced; those beside it are told of", async (t) => {
  const host = hostWith('pods');
  host.paths.set(NETWORK, { kind: 'file', text: '{"mine": true}\n', mode: 0o644 });
  for (const overwrite of [false, true]) {
    const plan = planned(host, { ...COMPILER, ...BRIDGE }, undefined, overwrite);
    t.match(plan.blockers, [{ text: /10-holdfast\.conflist is there already, and not by/ }]);
    t.notOk(stepsOf(plan).some((step) => 'path' in step && step.path === NETWORK));
  }
  host.paths.delete(NETWORK);
  const other = JSON.stringify({ name: 'other', plugins: [{ type: 'bridge' }] });
  host.paths.set('/etc/cni/net.d/05-other.conflist', { kind: 'file', text: other, mode: 0o644 });
  t.match(planned(host, { ...COMPILER, ...BRIDGE }).notes.join(), /05-other\.conflist sorts before/);
  host.paths.delete('/etc/cni/net.d/05-other.conflist');
  host.paths.set('/etc/cni/net.d/20-other.conflist', { kind: 'file', text: other, mode: 0o644 });
  t.match(planned(host, { ...COMPILER, ...BRIDGE }).notes.join(), /no longer get the network of .*20-other/);
});

t.test('a network that people have changed stays, and they are told', async (t) => {
  const host = installed({ ...COMPILER, ...BRIDGE });
  const text = renderNetwork({ name: 'pods', mode: 'bridge' }, undefined, new Set()).replace(
    'bridge"',
    'bridge", "mtu": 1400',
  );
  host.paths.set(NETWORK, { kind: 'file', text, mode: 0o644 });
  t.match(planned(host, BRIDGE).blockers, [{ text: /was changed since it was installed/ }]);
  const plan = removal(host);
  t.match(plan.notes, [/10-holdfast\.conflist was changed since it was installed and stays/]);
  carryOut(host, plan.steps);
  t.ok(host.paths.has(NETWORK));
});

t.test(
  'a network that people have changed is replaced when they say so, and another one in its place is not',
  async (t) => {
    const host = installed({ ...COMPILER, ...BRIDGE });
    const changed = '{"name": "mine", "plugins": [{"type": "holdfast"}]}';
    for (const [text, isReplaced] of [
      [changed, true],
      [changed.replace('"holdfast"', '"bridge"'), false],
    ] as const) {
      host.paths.set(NETWORK, { kind: 'file', text, mode: 0o644 });
      const { blockers, finish } = planned(host, BRIDGE, undefined, true);
      t.equal(blockers.length, isReplaced ? 0 : 1);
      t.equal(ofCni(finish).length, isReplaced ? 1 : 0);
    }
  },
);

t.test('a manifest that was lost keeps neither from being replaced or removed', async (t) => {
  const host = installed({ ...COMPILER, ...BRIDGE });
  host.paths.delete('/var/lib/holdfast/install.json');
  const routed = planned(host, { network: { name: 'pods', mode: 'routed' } });
  t.match([routed.blockers, ofCni(routed.finish)], [[], [{ do: 'write', path: NETWORK }]]);
  carryOut(host, removal(host).steps);
  t.strictSame([...host.paths.keys()], []);
  t.notOk(isRenderedNetwork(NETWORK, '{"name": "pods", "plugins": [{"type": "holdfast", "mode": "bridge"}]}'));
});

t.test('rules and routes go with the last pod, and stay for those that are left', async (t) => {
  const host = installed(COMPILER);
  t.match(
    removal(host)
      .steps.map((step) => step.do)
      .join(),
    /clear-network/,
  );
  host.traces = { ...host.traces, podInterfaces: 3 };
  const { steps, notes } = removal(host);
  t.notOk(steps.some((step) => step.do === 'clear-network'));
  t.match(notes, [/3 interfaces of pods .*delete these pods first/, /stay, because pods use them.*nft delete table/]);
  host.traces = { podInterfaces: 0, hasTable: false, rules: 0 };
  t.notOk(
    removal(host).steps.some((step) => step.do === 'clear-network'),
    'nothing is there',
  );
});

t.test('interrupted after every step', async (t) => {
  const options = { ...COMPILER, ...BRIDGE };
  const empty = hostWith('pods').state();
  const whole = installed(options);
  const upgrade = (host: ModelledHost) => stepsOf(planned(host, options, NEXT));
  const upgraded = installed(options);
  carryOut(upgraded, upgrade(upgraded));
  t.ok(isNothingToDo(planned(upgraded, options, NEXT)));
  const cases: readonly (readonly [string, boolean, (host: ModelledHost) => readonly Step[], unknown])[] = [
    ['an installation', false, (host) => stepsOf(planned(host, options)), whole.state()],
    ['an upgrade', true, upgrade, upgraded.state()],
    ['an uninstallation', true, (host) => removal(host).steps, empty],
  ];
  for (const [name, isInstalled, plan, end] of cases) {
    const begin = () => (isInstalled ? installed(options) : hostWith('pods'));
    const { length } = plan(begin());
    for (let count = 0; count < length; count += 1) {
      const again = begin();
      carryOut(again, plan(again), count);
      carryOut(again, plan(again));
      t.strictSame(again.state(), end, `${name}, after ${count} steps: running it again completes it`);
      const removed = begin();
      carryOut(removed, plan(removed), count);
      carryOut(removed, removal(removed).steps);
      t.strictSame(removed.state(), empty, `${name}, after ${count} steps: uninstalling leaves nothing`);
    }
  }
});

t.test('a kubelet that does not come up: the plugin and the network are not placed, and can be later', async (t) => {
  const host = installed({ ...COMPILER, ...BRIDGE });
  carryOut(host, removal(host).steps);
  const { steps, starting, pointing } = planned(host, { ...COMPILER, ...BRIDGE });
  carryOut(host, [...steps, ...starting.steps, ...pointing.steps, ...pointing.undo]);
  t.notOk(host.paths.has(NETWORK));
  carryOut(host, stepsOf(planned(host, { ...COMPILER, ...BRIDGE })));
  t.strictSame(host.state(), installed({ ...COMPILER, ...BRIDGE }).state());
});
