// An installation that is killed after each of its steps, with real files and real kills, below a root directory.
import { execFile } from 'node:child_process';
import { cp, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { installBelow } from './install-below.ts';

const run = promisify(execFile);
const REPOSITORY = fileURLToPath(new URL('../../..', import.meta.url));

/** A program as small as can be. */
function source(t: Test, version: string): string {
  const units = ['holdfast-agent.service', 'holdfast-cri-shim.service', 'holdfast-cri-shim.socket'];
  return t.testdir({
    'package.json': JSON.stringify({ version, dependencies: { needed: '1' } }),
    bin: { holdfast: '#!/usr/bin/env node\n' },
    dist: { agent: { 'main.js': '' } },
    node_modules: { needed: { 'package.json': '{}', 'index.js': 'shipped' }, other: { 'package.json': '{}' } },
    systemd: {
      ...Object.fromEntries(units.map((name) => [name, `# ${name} of ${version}\n`])),
      'holdfast.sysusers.conf': 'g holdfast -\n',
    },
  });
}

/** The installation in a process of its own, which ends after that step. */
async function killed(command: string, root: string, from: string, step: number): Promise<void> {
  const args = ['--import=tsx', 'test/component/install/installer.ts', command, root, from];
  const env = { ...process.env, HOLDFAST_FAILPOINT: `install.step.${step}` };
  await run(process.execPath, args, { cwd: REPOSITORY, env }).then(
    () => {
      throw new Error(`nothing was killed after step ${step}`);
    },
    (error: { readonly signal?: string }) => {
      if (error.signal !== 'SIGKILL') throw error;
    },
  );
}

/** Every file and link of a tree with its content; directories that are empty do not count. */
async function contents(root: string): Promise<Readonly<Record<string, string>>> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  const found: Record<string, string> = {};
  for (const entry of entries) {
    if (entry.isDirectory()) continue;
    const path = join(entry.parentPath, entry.name);
    found[path.slice(root.length)] = entry.isFile() ? await readFile(path, 'utf8') : 'link';
  }
  return found;
}

/** A host with a kubelet of kubeadm's kind. */
async function host(t: Test, name: string): Promise<string> {
  const root = join(t.testdirName, name);
  const units = join(root, 'usr/lib/systemd/system');
  await mkdir(units, { recursive: true });
  await writeFile(join(units, 'kubelet.service'), '[Service]\nExecStart=/usr/bin/kubelet $ARGS\n');
  return root;
}

t.test('killed after every step', async (t) => {
  const from = source(t, '1.0.0');
  const whole = await host(t, 'whole');
  const before = await contents(whole);
  const length = await installBelow('install', whole, from);
  const installed = await contents(whole);
  t.ok(length > 10, `${length} steps`);
  t.match(installed, {
    '/etc/systemd/system/kubelet.service.d/99-holdfast.conf':
      /ExecStart=\/usr\/bin\/kubelet \$ARGS --container-runtime/,
    '/usr/local/bin/holdfast': 'link',
    '/var/lib/holdfast/install.json': /"phase": "done"/,
  });
  t.notOk(
    Object.keys(installed).some((path) => path.includes('node_modules/other')),
    'only what is needed',
  );
  t.equal(await installBelow('install', whole, from), 0, 'a second run has nothing to do');

  for (let step = 0; step < length; step += 1) {
    const root = await host(t, `installing-${step}`);
    await killed('install', root, from, step);
    const other = await host(t, `uninstalling-${step}`);
    await cp(root, other, { recursive: true, verbatimSymlinks: true });
    await installBelow('install', root, from);
    t.strictSame(await contents(root), installed, `killed after step ${step} and run again`);
    await installBelow('uninstall', other, from);
    t.strictSame(await contents(other), before, `killed after step ${step} and uninstalled`);
  }
});

t.test('a copy that was cut short or changed is made again', async (t) => {
  const from = source(t, '1.0.0');
  const root = await host(t, 'host');
  await installBelow('install', root, from);
  const installed = await contents(root);
  const copied = Object.keys(installed).find((path) => path.endsWith('node_modules/needed/index.js')) ?? '';
  for (const text of ['something else', 'changed']) {
    await writeFile(join(root, copied), text);
    t.not(await installBelow('install', root, from), 0, text);
    t.strictSame(await contents(root), installed);
  }
});

t.test('a file that somebody changed is named and stays', async (t) => {
  const from = source(t, '1.0.0');
  const root = await host(t, 'host');
  await installBelow('install', root, from);
  const unit = join(root, 'etc/systemd/system/holdfast-agent.service');
  await writeFile(unit, '# mine\n');
  const named = { code: 'PRECONDITION', message: /\/etc\/systemd\/system\/holdfast-agent\.service was changed/ };
  await t.rejects(installBelow('install', root, from), named);
  t.equal(await readFile(unit, 'utf8'), '# mine\n');
});

t.test('what people have in the folder of the programs stays', async (t) => {
  const from = source(t, '1.0.0');
  const root = await host(t, 'host');
  const programs = join(root, 'opt/holdfast');
  await mkdir(join(programs, 'mydata'), { recursive: true });
  await mkdir(join(programs, 'data-0123456789ab'));
  await mkdir(join(programs, '.77.partial'));
  const foreign = ['opt/holdfast/data-0123456789ab/file', 'opt/holdfast/mydata/file', 'opt/holdfast/notes.txt'];
  for (const path of foreign) await writeFile(join(root, path), 'mine\n');
  const before = await contents(root);
  await installBelow('install', root, from);
  t.match(await contents(root), before, 'installing leaves it');
  t.equal(await installBelow('install', root, from), 0, 'it is nothing to do, either');
  await installBelow('uninstall', root, from);
  t.strictSame(await contents(root), before, 'uninstalling, too');
  t.strictSame((await readdir(programs)).sort(), ['data-0123456789ab', 'mydata', 'notes.txt']);
  t.equal(await installBelow('uninstall', root, from), 0);
});
