// The doors of an installation to the host: files, programs, systemctl.
import { chmod, mkdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { runCommand } from '../../../agent/host/command.ts';
import { openHostFiles } from '../../../agent/host/host-files.ts';
import { openHostTree } from '../../../agent/host/host-tree.ts';
import { findLoadedProgram, parseLoadedProgram } from '../../../agent/host/loaded-programs.ts';
import { copyProgram } from '../../../agent/host/program-tree.ts';
import { openSystemd, parseUnitProperties } from '../../../agent/host/systemd.ts';
import { type ExecuteOptions, executeSteps } from '../../../agent/install/execute.ts';
import type { Step } from '../../../agent/install/step.ts';

const { signal } = new AbortController();

t.test('files are replaced as a whole, with their mode, and their directories made', async (t) => {
  const files = await openHostFiles(t.testdir({}));
  await files.write('/etc/x/y.conf', 'one\n', 0o640);
  await files.write('/etc/x/y.conf', 'two\n', 0o600);
  t.strictSame(await files.look('/etc/x/y.conf'), { kind: 'file', text: 'two\n', mode: 0o600 });
  t.strictSame(await files.list('/etc/x'), ['y.conf'], 'no temporary file is left');
  await files.remove('/etc/x/y.conf');
  await files.remove('/etc/x/y.conf');
  await files.removeEmpty('/etc/x');
  t.equal(await files.look('/etc/x'), undefined);
});

t.test('a link is switched, also where it leads nowhere', async (t) => {
  const files = await openHostFiles(t.testdir({}));
  await files.link('/opt/current', '/opt/a');
  await files.link('/opt/current', '/opt/b');
  t.strictSame(await files.look('/opt/current'), { kind: 'link', target: '/opt/b' });
});

t.test('nothing is written through a link that leads out of the root directory', async (t) => {
  const base = t.testdir({ image: {}, outside: {} });
  await symlink(join(base, 'outside'), join(base, 'image/etc'));
  const files = await openHostFiles(join(base, 'image'));
  await t.rejects(files.write('/etc/x', 'text', 0o644), { code: 'HOST_FAILURE', message: /leads out of the root/ });
  await t.rejects(files.removeTree('/etc/x'), { code: 'HOST_FAILURE' });
});

t.test(
  'what others write is checked, too, also where a link leads to a directory that only the image has',
  async (t) => {
    const base = t.testdir({ image: { opt: {}, var: {} }, outside: {} });
    const out = { code: 'HOST_FAILURE', message: /leads out of the root/ };
    await symlink(join(base, 'outside'), join(base, 'image/opt/holdfast'));
    await symlink('/only-the-image-has/this', join(base, 'image/var/lib'));
    const files = await openHostFiles(join(base, 'image'));
    await t.rejects(files.locateInside('/opt/holdfast/1.0.0'), out);
    await t.rejects(files.makeDirectory('/var/lib/holdfast', 0o700), out);
    t.equal(await files.locateInside('/usr/x'), join(base, 'image/usr/x'));
  },
);

t.test('a program fails with its last words, or is not there', async (t) => {
  await t.rejects(runCommand('sh', ['-c', 'echo oh no >&2; exit 3'], { timeoutMs: 60_000 }), {
    code: 'HOST_FAILURE',
    message: /oh no/,
  });
  await t.rejects(runCommand('no-such-program', [], { timeoutMs: 60_000 }), { code: 'PRECONDITION' });
  await t.rejects(runCommand('sleep', ['600'], { timeoutMs: 50 }), { message: /did not end within/ });
});

t.test('programs of /usr/sbin are found whatever the PATH of the caller says', async (t) => {
  const before = process.env['PATH'];
  t.teardown(() => {
    process.env['PATH'] = before;
  });
  process.env['PATH'] = '/nowhere';
  t.match(await runCommand('groupdel', ['--help'], { timeoutMs: 60_000 }), /^Usage: groupdel/);
});

t.test('a program that fails where its step says that this is no reason to stop', async (t) => {
  const notes: string[] = [];
  const never = (): Promise<void> => Promise.reject(new Error('not asked for'));
  const execute = async (step: Step): Promise<void> =>
    executeSteps([step], {
      files: await openHostFiles(t.testdir({})),
      systemd: openSystemd('/nowhere'),
      actions: {
        agentAnswers: never,
        shimAnswers: never,
        kubeletRuns: never,
        releaseCpus: never,
        dropLayers: never,
        clearNetwork: never,
      },
      program: undefined,
      signal,
      onStep: () => {},
      onNote: (text) => notes.push(text),
    });
  const step = { do: 'run', program: 'groupdel', args: ['no-such-group-of-ours'] } as const;
  await t.rejects(execute(step), { code: 'HOST_FAILURE', message: /no-such-group-of-ours/ });
  await execute({ ...step, otherwise: 'the group stays' });
  await execute({ ...step, program: 'no-such-program', otherwise: 'the group stays' });
  t.match(notes, [/^the group stays: .*no-such-group-of-ours/, /^the group stays: .*not installed/]);
});

/** Stands for systemctl where no systemd runs: writes down its arguments and answers for one unit. */
async function fakeSystemctl(t: Test): Promise<{ readonly path: string; readonly calls: () => Promise<string> }> {
  const path = t.testdir({});
  const log = join(path, 'calls');
  const script = [
    '#!/bin/sh',
    `echo "$*" >> ${log}`,
    'case "$*" in',
    '  "restart bad.service") echo "Job for bad.service failed." >&2; exit 1;;',
    '  show*good.service) printf "ActiveState=active\\nMainPID=42\\nNRestarts=3\\n";;',
    '  show*) printf "ActiveState=inactive\\nMainPID=0\\n";;',
    'esac',
  ];
  await writeFile(join(path, 'systemctl'), `${script.join('\n')}\n`);
  await chmod(join(path, 'systemctl'), 0o755);
  return { path, calls: () => readFile(log, 'utf8') };
}

t.test('systemctl is called with what a step says, and its answers are read', async (t) => {
  const { path, calls } = await fakeSystemctl(t);
  const systemd = openSystemd(`${path}:/usr/bin:/bin`);
  await systemd.call(['daemon-reload'], signal);
  t.strictSame(await systemd.stateOf('good.service', signal), { active: 'active', mainPid: 42, restarts: 3 });
  t.strictSame(await systemd.stateOf('absent.service', signal), { active: 'inactive', mainPid: 0, restarts: 0 });
  await t.rejects(systemd.call(['restart', 'bad.service'], signal), {
    code: 'HOST_FAILURE',
    message: /Job for bad\.service failed/,
  });
  t.match(await calls(), /^daemon-reload$/m);
  t.equal(parseUnitProperties('Environment=A=b=c\nnonsense\n').get('Environment'), 'A=b=c');
});

t.test('which build a process runs is seen from what it has mapped', async (t) => {
  const line = '7f00-7f01 r-xp 00000000 08:01 9 /opt/holdfast/1.0.0-aa/node_modules/koffi/x.node';
  t.equal(parseLoadedProgram(`${line.replace('/opt', '/usr')}\n${line}\n`, '/opt/holdfast'), '/opt/holdfast/1.0.0-aa');
  t.equal(parseLoadedProgram('7f00-7f01 r-xp 0 0 0 [heap]\n', '/opt/holdfast'), undefined);
  const root = t.testdir({ proc: { 5: { maps: `${line}\n` } } });
  const tree = await openHostTree(root);
  t.equal(await findLoadedProgram(tree, 5, '/opt/holdfast'), '/opt/holdfast/1.0.0-aa');
  t.equal(await findLoadedProgram(tree, 6, '/opt/holdfast'), undefined);
});

t.test('a program that is missing in the middle of the work is no precondition', async (t) => {
  const never = (): Promise<void> => Promise.reject(new Error('not asked'));
  const options: ExecuteOptions = {
    files: await openHostFiles(t.testdir({})),
    systemd: openSystemd(),
    actions: {
      agentAnswers: never,
      shimAnswers: never,
      kubeletRuns: never,
      releaseCpus: never,
      dropLayers: never,
      clearNetwork: never,
    },
    program: undefined,
    signal,
    onStep: () => {},
    onNote: () => {},
  };
  await t.rejects(executeSteps([{ do: 'run', program: 'no-such-program', args: ['x'] }], options), {
    code: 'HOST_FAILURE',
    cause: { code: 'PRECONDITION' },
  });
});

t.test('a directory that is there keeps its mode', async (t) => {
  const root = t.testdir({});
  const files = await openHostFiles(root);
  await mkdir(join(root, 'var'), { mode: 0o755 });
  await files.makeDirectory('/var/lib/holdfast', 0o700);
  await files.makeDirectory('/var', 0o700);
  t.equal((await stat(join(root, 'var'))).mode & 0o777, 0o755);
  t.equal((await stat(join(root, 'var/lib/holdfast'))).mode & 0o777, 0o700);
});

t.test('a directory that is made has its mode, and those above it are for everybody', async (t) => {
  const root = t.testdir({ from: { bin: { holdfast: '' } } });
  const files = await openHostFiles(root);
  const mask = process.umask(0o077);
  t.teardown(() => process.umask(mask));
  await files.makeDirectory('/var/lib/holdfast', 0o700);
  await files.write('/etc/systemd/system/x.service', '', 0o644);
  await copyProgram(join(root, 'from'), [{ path: 'bin/holdfast', size: 0, executable: true }], join(root, 'opt/h/1'));
  const modeOf = async (path: string): Promise<number> => (await stat(join(root, path))).mode & 0o777;
  for (const path of ['var', 'var/lib', 'etc/systemd/system', 'opt', 'opt/h', 'opt/h/1', 'opt/h/1/bin']) {
    t.equal(await modeOf(path), 0o755, path);
  }
  t.equal(await modeOf('var/lib/holdfast'), 0o700);
});
