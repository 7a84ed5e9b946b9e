// Files of ours: made, replaced, left alone, and never overwritten blindly.
import t from 'tap';
import type { HostPath } from '../../../agent/host/host-files.ts';
import { LAYOUT } from '../../../agent/install/layout.ts';
import { digestText } from '../../../agent/install/manifest.ts';
import { planFiles, planLink } from '../../../agent/install/plan-files.ts';
import { isNothingToDo, planInstall, stepsOf } from '../../../agent/install/plan-install.ts';
import { planUninstall } from '../../../agent/install/plan-uninstall.ts';
import { renderUnit, wantedUnits } from '../../../agent/install/wanted.ts';
import { ModelledHost, UNITS } from './modelled-host.ts';

const PATH = '/etc/systemd/system/holdfast-agent.service';
const KEEP = { overwrite: false };
const WANTED = { path: PATH, text: 'new\n', mode: 0o644 };
const file = (text: string, mode = 0o644): HostPath => ({ kind: 'file', text, mode });
const plan = (found: HostPath | undefined, digests?: readonly string[], overwrite = false) =>
  planFiles(
    [WANTED],
    new Map(found === undefined ? [] : [[PATH, found]]),
    digests === undefined ? {} : { [PATH]: { digests: [...digests] } },
    { overwrite },
  );

t.test('absent: written; as it should be: left; of an older version: replaced', async (t) => {
  t.match(plan(undefined).steps, [{ do: 'write', path: PATH, text: 'new\n' }]);
  t.strictSame(plan(file('new\n')).steps, []);
  t.match(plan(file('old\n'), [digestText('old\n')]).steps, [{ do: 'write', before: { text: 'old\n' } }]);
  t.match(plan(file('new\n', 0o600), [digestText('new\n')]).steps, [{ do: 'write', mode: 0o644 }]);
});

t.test("changed since it was installed, or somebody else's: nothing is written unless that is asked for", async (t) => {
  const edited = plan(file('edited\n'), [digestText('old\n')]);
  t.match(
    [edited.steps, edited.blockers],
    [[], [{ text: /was changed since it was installed/, remedy: /--overwrite/ }]],
  );
  const foreign = plan(file('foreign\n'));
  t.match([foreign.steps, foreign.blockers], [[], [{ text: /not by holdfast install/ }]]);
  t.match(plan(file('edited\n'), [digestText('old\n')], true).steps, [{ do: 'write', text: 'new\n' }]);
  t.match(plan({ kind: 'directory' }, undefined, true).blockers, [{ text: /is a directory/ }]);
});

t.test('what was there before us is put back by uninstalling', async (t) => {
  const host = new ModelledHost('none');
  host.paths.set(PATH, file('by hand\n', 0o600));
  const options = { kubelet: true, overwrite: true };
  for (const step of stepsOf(planInstall(host.facts(), host.wanted(), options))) host.apply(step);
  t.notSame(host.paths.get(PATH), file('by hand\n', 0o600));
  for (const step of planUninstall(host.facts(), { keepState: false }).steps) host.apply(step);
  t.strictSame([...host.paths], [[PATH, file('by hand\n', 0o600)]]);
});

t.test('a link is switched; something else in its place is not touched', async (t) => {
  t.match(
    planLink('/opt/holdfast/current', '/opt/holdfast/b', { kind: 'link', target: '/opt/holdfast/a' }, KEEP).step,
    {
      do: 'link',
      before: '/opt/holdfast/a',
    },
  );
  t.strictSame(planLink('/x', '/y', { kind: 'link', target: '/y' }, KEEP), {});
  t.match(planLink('/usr/local/bin/holdfast', '/y', file('#!/bin/sh\n'), KEEP).blocker, { text: /is a file/ });
});

t.test("a command of somebody else's is replaced only when that is asked for, and put back", async (t) => {
  const host = new ModelledHost('none');
  const mine: HostPath = { kind: 'link', target: '/srv/mine' };
  host.paths.set(LAYOUT.command, mine);
  const plan = (overwrite: boolean) => planInstall(host.facts(), host.wanted(), { kubelet: true, overwrite });
  t.match(plan(false).blockers, [{ text: /a link to \/srv\/mine/, remedy: /--overwrite/ }]);
  for (const step of stepsOf(plan(true))) host.apply(step);
  t.strictSame(host.paths.get(LAYOUT.command), { kind: 'link', target: '/opt/holdfast/current/bin/holdfast' });
  t.ok(isNothingToDo(plan(false)));
  for (const step of planUninstall(host.facts(), { keepState: false }).steps) host.apply(step);
  t.strictSame([...host.paths], [[LAYOUT.command, mine]]);
  const relative: HostPath = { kind: 'link', target: '../../../opt/holdfast/1.0.0/bin/holdfast' };
  t.match(planLink(LAYOUT.command, '/y', relative, KEEP).step, { do: 'link' }, 'of an installation of ours');
});

t.test("the shim's unit names the runtime that the kubelet used", async (t) => {
  t.equal(
    renderUnit('a --upstream /run/containerd/containerd.sock\n', '/run/other.sock'),
    'a --upstream /run/other.sock\n',
  );
  const units = wantedUnits(UNITS, '/run/other.sock');
  t.ok(units.some(({ text }) => text.includes('--upstream /run/other.sock')));
});
