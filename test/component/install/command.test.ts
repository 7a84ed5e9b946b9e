// `holdfast install` and `uninstall` as commands, below a root directory: what they print, what they leave, and that the
// copied program is whole.
import { execFile } from 'node:child_process';
import { readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const REPOSITORY = fileURLToPath(new URL('../../..', import.meta.url));

interface Result {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function run(program: string, ...args: readonly string[]): Promise<Result> {
  return new Promise((resolve) => {
    const env = { ...process.env, NODE_OPTIONS: '' };
    const child = execFile(process.execPath, [program, ...args], { env }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
    child.stdin?.end();
  });
}

const holdfast = (...args: readonly string[]): Promise<Result> => run(join(REPOSITORY, 'bin/holdfast'), ...args);

async function filesOf(root: string): Promise<readonly string[]> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => !entry.isDirectory()).map((entry) => join(entry.parentPath, entry.name));
}

t.test('an image is prepared, and cleared again', async (t) => {
  const root = t.testdir({
    usr: { lib: { systemd: { system: { 'kubelet.service': '[Service]\nExecStart=/usr/bin/kubelet --v=2\n' } } } },
  });
  const before = await filesOf(root);

  const dry = await holdfast('install', '--root', root, '--dry-run');
  t.equal(dry.code, 0, dry.stderr);
  t.match(dry.stdout, /^- write \/etc\/systemd\/system\/holdfast-agent\.service \(mode 0644\)$/m);
  t.match(dry.stdout, /^ {4}\+ExecStart=\/usr\/local\/bin\/holdfast agent$/m, 'the content of each file');
  t.match(dry.stdout, /^ {4}\+ExecStart=\/usr\/bin\/kubelet --v=2 --container-runtime-endpoint=/m);
  t.notMatch(dry.stdout, /systemctl/, 'nothing is called for an image');
  t.strictSame(await filesOf(root), before, 'a dry run changes nothing');

  const installed = await holdfast('install', '--root', root);
  t.equal(installed.code, 0, installed.stderr);
  const again = await holdfast('install', '--root', root);
  t.match(again.stdout, /^Nothing to do/m);

  const [name = ''] = (await readdir(join(root, 'opt/holdfast'))).filter((each) => each !== 'current');
  const copy = join(root, 'opt/holdfast', name, 'bin/holdfast');
  t.match((await run(copy, 'config', 'show')).stdout, /apiVersion: holdfast\.dev\/v1/, 'the copied program runs');
  t.match((await run(copy, 'cri-shim', '--help')).stdout, /^Usage: holdfast cri-shim/);

  const ofCopy = await run(copy, 'install', '--root', root);
  t.match(ofCopy.stdout, /^Nothing to do/m, 'the copy is the same program');

  const unit = join(root, 'etc/systemd/system/holdfast-agent.service');
  const text = await readFile(unit, 'utf8');
  await writeFile(unit, `${text}# mine\n`);
  const hindered = await holdfast('install', '--root', root);
  t.equal(hindered.code, 1);
  t.match(hindered.stderr, /holdfast-agent\.service was changed since it was installed[\s\S]*PRECONDITION/);
  t.match(await readFile(unit, 'utf8'), /# mine/);
  await writeFile(unit, text);

  const asked = await holdfast('uninstall', '--root', root);
  t.equal(asked.code, 1);
  t.match(asked.stderr, /--yes/);
  t.match(await readFile(unit, 'utf8'), text, 'nothing was changed');
  const removed = await holdfast('uninstall', '--root', root, '--yes');
  t.equal(removed.code, 0, removed.stderr);
  t.strictSame(await filesOf(root), before);
  const empty = ['etc/sysusers.d', 'etc/systemd/system/kubelet.service.d', 'etc/systemd/system/sockets.target.wants'];
  for (const folder of empty) await t.rejects(stat(join(root, folder)), { code: 'ENOENT' }, `${folder} goes, too`);
  t.match((await holdfast('uninstall', '--root', root, '--yes')).stdout, /^Nothing to do/m);
});

t.test('a configuration that is not valid does not keep anybody from uninstalling', async (t) => {
  const root = t.testdir({ etc: { holdfast: { 'config.yaml': 'kind: FromAnotherVersion\n' } } });
  const refused = await holdfast('install', '--root', root, '--dry-run');
  t.match([refused.code, refused.stderr], [1, /INVALID_CONFIG/]);
  const removed = await holdfast('uninstall', '--root', root, '--yes');
  t.equal(removed.code, 0, removed.stderr);
  t.match(removed.stdout, /^Note: the configuration is left out of account: /m);
  t.strictSame(await filesOf(root), []);
});

t.test('a damaged manifest, a root that is not there', async (t) => {
  const root = t.testdir({ var: { lib: { holdfast: { 'install.json': '{"phase":' } } } });
  const damaged = await holdfast('install', '--root', root, '--dry-run');
  t.equal(damaged.code, 1);
  t.match(damaged.stderr, /install\.json is not a manifest[\s\S]*DAMAGED/);
  const missing = await holdfast('install', '--root', join(root, 'none'));
  t.match([missing.code, missing.stderr], [1, /NOT_FOUND/]);
});

t.test('a link of the image that leads to this machine: nothing is made there', async (t) => {
  for (const path of ['opt/holdfast', 'var/lib/holdfast']) {
    const base = t.testdir({ image: { opt: {}, var: { lib: {} } }, outside: {} });
    await symlink(join(base, 'outside'), join(base, 'image', path));
    const refused = await holdfast('install', '--root', join(base, 'image'));
    t.match([refused.code, refused.stderr], [1, /leads out of the root directory[\s\S]*HOST_FAILURE/]);
    t.strictSame(await readdir(join(base, 'outside')), []);
  }
});

t.test('what stands in the way of the host itself: nothing is made', async (t) => {
  const head = 'apiVersion: holdfast.dev/v1\nkind: AgentConfig\n';
  const root = t.testdir({ etc: { holdfast: { 'config.yaml': `${head}paths: {run: /run/other}\n` } } });
  const refused = await holdfast('install', '--root', root);
  t.match(
    [refused.code, refused.stderr],
    [1, /paths\.run is \/run\/other[\s\S]*nothing was changed[\s\S]*PRECONDITION/],
  );
  t.strictSame(await readdir(root), ['etc'], 'not even a lock');
});
