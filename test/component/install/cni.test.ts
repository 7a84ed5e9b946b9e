// The CNI plugin and the network of new pods below a root directory: with the real compiler, real files and real kills; and
// what the command says to wrong input.
import { execFile, spawnSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { askPluginVersions } from '../../../agent/host/plugin-version.ts';
import { SCRIPT_HEAD } from '../../../agent/install/cni-facts.ts';
import type { CniOptions } from '../../../agent/install/plan-cni.ts';
import { installBelow } from './install-below.ts';

// Several programs are compiled, and several of Node.js started, one after the other.
t.setTimeout(300_000);

const run = promisify(execFile);
const REPOSITORY = fileURLToPath(new URL('../../..', import.meta.url));
const BIN = 'usr/lib/cni';
const NETWORK = 'etc/cni/net.d/10-holdfast.conflist';
const BRIDGE = { network: { name: 'pods', mode: 'bridge' } } as const;
const VERSIONS = ['0.4.0', '1.0.0', '1.1.0'];
const { signal } = new AbortController();

const NO_CC: string | false = (() => {
  const trial = spawnSync('cc', ['-static', '-x', 'c', '-o', '/dev/null', '-'], {
    input: 'int main(void) { return 0; }',
  });
  if (trial.error !== undefined) return 'no C compiler (cc)';
  return trial.status === 0 ? false : 'cc links nothing statically, which images need (Debian: libc6-dev)';
})();

/** A program as small as can be, with the real launcher. */
function source(
  t: Test,
  version = '1.0.0',
  launcher = readFileSync(join(REPOSITORY, 'cni-plugin/launcher.c'), 'utf8'),
) {
  const from = join(t.testdirName, `source-${version}`);
  const files: Readonly<Record<string, string>> = {
    'package.json': JSON.stringify({ version }),
    'bin/holdfast': '#!/usr/bin/env node\n',
    'dist/agent/main.js': '',
    'cni-plugin/launcher.c': launcher,
    'cni-plugin/main.ts': 'not part of the program',
    'systemd/holdfast-agent.service': 'agent\n',
    'systemd/holdfast-cri-shim.service': 'shim\n',
    'systemd/holdfast-cri-shim.socket': 'socket\n',
    'systemd/holdfast.sysusers.conf': 'g holdfast -\n',
  };
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(from, path, '..'), { recursive: true });
    writeFileSync(join(from, path), text);
  }
  return from;
}

/** An image with Debian's containerd and two of the standard plugins. */
function image(t: Test, name = 'image'): string {
  const root = join(t.testdirName, name);
  mkdirSync(join(root, BIN), { recursive: true });
  mkdirSync(join(root, 'etc/containerd'), { recursive: true });
  const config =
    '[plugins."io.containerd.grpc.v1.cri".cni]\n  bin_dir = "/usr/lib/cni"\n  conf_dir = "/etc/cni/net.d"\n';
  writeFileSync(join(root, 'etc/containerd/config.toml'), config);
  for (const plugin of ['loopback', 'portmap']) writeFileSync(join(root, BIN, plugin), '');
  return root;
}

function contents(root: string): Readonly<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile()) found[path.slice(root.length)] = readFileSync(path, 'latin1');
    else if (!entry.isDirectory()) found[path.slice(root.length)] = 'link';
  }
  return found;
}

const install = (root: string, from: string, cni: CniOptions = {}) =>
  installBelow('install', root, from, {}, { pools: ['pods'], cni });
const uninstall = (root: string, from: string) => installBelow('uninstall', root, from, {}, { pools: ['pods'] });

t.test(
  'the launcher is compiled and answers; nothing is left of compiling, nor of uninstalling',
  { skip: NO_CC },
  async (t) => {
    t.testdir({});
    const from = source(t);
    const root = image(t);
    const before = contents(root);
    await install(root, from, BRIDGE);
    const plugin = join(root, BIN, 'holdfast');
    t.equal(statSync(plugin).mode & 0o7777, 0o755);
    t.strictSame(await askPluginVersions(plugin, signal), VERSIONS);
    t.strictSame(readdirSync(join(root, BIN)), ['holdfast', 'loopback', 'portmap']);
    t.match(JSON.parse(readFileSync(join(root, NETWORK), 'utf8')), {
      name: 'pods',
      plugins: [{ type: 'holdfast' }, { type: 'portmap' }],
    });
    t.notOk(
      Object.keys(contents(root)).some((path) => path.endsWith('main.ts')),
      'of the plugin only what is compiled is copied',
    );
    t.equal(await install(root, from, BRIDGE), 0, 'a second run has nothing to do');
    await uninstall(root, from);
    t.strictSame(contents(root), before);
  },
);

t.test(
  'an upgrade replaces a launcher of another source, and a process of the old one runs on',
  { skip: NO_CC },
  async (t) => {
    t.testdir({});
    const from = source(t);
    const root = image(t);
    await install(root, from);
    const plugin = join(root, BIN, 'holdfast');
    // It is open as a process has it open that runs it.
    await using old = await open(plugin, 'r');
    const { ino } = await old.stat();
    const text = readFileSync(join(from, 'cni-plugin/launcher.c'), 'utf8');
    const next = source(t, '1.1.0', `${text}// of another version\n`);
    await install(root, next);
    t.not(statSync(plugin).ino, ino, 'another file has its name');
    t.equal((await old.stat()).nlink, 0);
    t.strictSame(await askPluginVersions(plugin, signal), VERSIONS);
    const { ino: same } = statSync(plugin);
    await install(root, source(t, '1.2.0', `${text}// of another version\n`));
    t.equal(statSync(plugin).ino, same, 'of the same source it stays');
  },
);

t.test('without a compiler that can compile it: the Node form, or a clear error', async (t) => {
  t.testdir({});
  const from = source(t, '1.0.0', '#error as if a header were missing\n');
  const root = image(t);
  const before = contents(root);
  await t.rejects(install(root, from, { plugin: 'launcher' }), {
    code: 'PRECONDITION',
    message: /the launcher cannot be compiled/,
  });
  t.strictSame(contents(root), before);
  await install(root, from);
  const script = readFileSync(join(root, BIN, 'holdfast'), 'utf8');
  t.ok(script.startsWith(SCRIPT_HEAD));
  t.equal(statSync(join(root, BIN, 'holdfast')).mode & 0o7777, 0o755);
  t.equal(await install(root, from), 0);
  await uninstall(root, from);
  t.strictSame(contents(root), before);
});

t.test('what is somebody else’s or was changed stays', async (t) => {
  t.testdir({});
  const from = source(t);
  const root = image(t);
  const plugin = join(root, BIN, 'holdfast');
  writeFileSync(plugin, '#!/bin/sh\nexec mine\n');
  await t.rejects(install(root, from, { plugin: 'node' }), { code: 'PRECONDITION', message: /somebody else's/ });
  rmSync(plugin);
  mkdirSync(join(root, NETWORK, '..'), { recursive: true });
  writeFileSync(join(root, NETWORK), '{}');
  await t.rejects(install(root, from, { plugin: 'node', ...BRIDGE }), { message: /10-holdfast.* is there already/ });
  rmSync(join(root, NETWORK));
  await install(root, from, { plugin: 'node', ...BRIDGE });
  chmodSync(plugin, 0o700);
  await install(root, from);
  t.equal(statSync(plugin).mode & 0o7777, 0o755, 'a mode that the runtime cannot use is put right');
  writeFileSync(plugin, `${readFileSync(plugin, 'utf8')}# mine\n`);
  writeFileSync(join(root, NETWORK), '{"name": "mine", "plugins": [{"type": "holdfast"}]}');
  await uninstall(root, from);
  t.match(readFileSync(plugin, 'utf8'), /# mine/);
  t.match(readFileSync(join(root, NETWORK), 'utf8'), /mine/);
});

t.test('killed after every step', { skip: NO_CC }, async (t) => {
  t.testdir({});
  const from = source(t);
  const whole = image(t, 'whole');
  const before = contents(whole);
  const length = await install(whole, from, BRIDGE);
  const installed = contents(whole);
  t.ok(`/${NETWORK}` in installed && `/${BIN}/holdfast` in installed);
  // Those before are killed in killed.test.ts.
  const first = length - 4;
  for (let step = first; step < length; step += 1) {
    const root = image(t, `killed-${step}`);
    const args = ['--import=tsx', 'test/component/install/installer.ts', 'install', root, from, 'pods'];
    const env = { ...process.env, HOLDFAST_FAILPOINT: `install.step.${step}` };
    const killed: unknown = await run(process.execPath, args, { cwd: REPOSITORY, env }).catch(
      (error: unknown) => error,
    );
    t.match(killed, { signal: 'SIGKILL' });
    const other = join(t.testdirName, `other-${step}`);
    cpSync(root, other, { recursive: true, verbatimSymlinks: true });
    await install(root, from, BRIDGE);
    t.strictSame(contents(root), installed, `after step ${step}, and run again`);
    await uninstall(other, from);
    t.strictSame(contents(other), before, `after step ${step}, and uninstalled`);
  }
});

t.test('what a killed compilation left goes with the next, or with uninstalling', { skip: NO_CC }, async (t) => {
  t.testdir({});
  const from = source(t);
  for (const name of ['again', 'away']) {
    const root = image(t, name);
    const before = contents(root);
    mkdirSync(join(root, BIN, '.holdfast-77.partial'));
    writeFileSync(join(root, BIN, '.holdfast-77.partial/holdfast'), 'half');
    if (name === 'again') await install(root, from);
    else await uninstall(root, from);
    t.notOk(readdirSync(join(root, BIN)).includes('.holdfast-77.partial'));
    await uninstall(root, from);
    t.strictSame(contents(root), before);
  }
});

t.test('directories that are not there, or that nobody could read of', async (t) => {
  t.testdir({});
  const from = source(t);
  const root = image(t);
  rmSync(join(root, BIN), { recursive: true });
  await t.rejects(install(root, from), { message: /\/usr\/lib\/cni, where the runtime looks .* is not there/ });
  writeFileSync(join(root, 'etc/containerd/config.toml'), '[plugins\n');
  await t.rejects(install(root, from), { message: /cannot be read: .*config\.toml: line 1/ });
  rmSync(join(root, 'etc/containerd/config.toml'));
  await t.rejects(install(root, from), { message: /\/opt\/cni\/bin, where/ }, "containerd's own default");
  mkdirSync(join(root, BIN));
  await install(root, from, { plugin: 'node' });
  t.ok(statSync(join(root, BIN, 'holdfast')).isFile(), "Debian's, where only that is there");
});

interface Result {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function command(program: string, ...args: readonly string[]): Promise<Result> {
  return new Promise((resolve) => {
    const child = execFile(program, args, { env: { ...process.env, NODE_OPTIONS: '' } }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
    child.stdin?.end();
  });
}

const HOLDFAST = join(REPOSITORY, 'bin/holdfast');
const HEAD = 'apiVersion: holdfast.dev/v1\nkind: AgentConfig\n';
const POOL = 'network: {pools: {pods: {subnets: [{cidr: 10.88.7.0/24}]}}}\n';

t.test('the command: what is wrong in its words, and what it would do', async (t) => {
  t.testdir({});
  const root = image(t);
  mkdirSync(join(root, 'etc/holdfast'));
  writeFileSync(join(root, 'etc/holdfast/config.yaml'), HEAD + POOL);
  const before = contents(root);
  const holdfast = (...args: readonly string[]) =>
    command(process.execPath, HOLDFAST, 'install', '--root', root, ...args);
  const wrong: readonly (readonly [readonly string[], RegExp])[] = [
    [['--cni-network=pods', '--cni-mode=overlay'], /Allowed choices are bridge, routed/],
    [['--cni-plugin=go'], /Allowed choices are launcher, node, none/],
    [['--cni-mode=routed'], /--cni-network=<name>[\s\S]*INVALID_REQUEST/],
    [['--cni-network=-pods'], /no name for a network/],
    [['--cni-network=a b'], /no name for a network/],
    [['--cni-network='], /no name for a network/],
    [['--cni-network=../x'], /no name for a network/],
    [['--cni-plugin=none', '--cni-network=pods'], /--cni-network needs the plugin[\s\S]*PRECONDITION/],
  ];
  for (const [args, message] of wrong) {
    const { code, stderr } = await holdfast(...args);
    t.not(code, 0, args.join(' '));
    t.match(stderr, message);
  }
  const dry = await holdfast('--dry-run', '--cni-plugin=node', '--cni-network=pods', '--cni-mode=routed');
  t.equal(dry.code, 0, dry.stderr);
  t.match(dry.stdout, /^- write \/usr\/lib\/cni\/holdfast \(mode 0755\): the Node form, as --cni-plugin=node says$/m);
  t.match(dry.stdout, /^ {4}\+ {6}"mode": "routed",$/m, 'the file is shown');
  t.match(dry.stdout, /^Note: .*10-holdfast\.conflist changes the network of the node's new pods/m);
  const without = await holdfast('--dry-run');
  t.match(without.stdout, /^Note: no network of the runtime uses the CNI plugin yet: .*--cni-network=<name>/m);
  t.strictSame(contents(root), before);
});

t.test(
  'a directory that is mounted for reading only',
  { skip: process.getuid?.() === 0 ? false : 'mounting needs root' },
  async (t) => {
    t.testdir({});
    const root = image(t);
    mkdirSync(join(root, 'etc/holdfast'));
    writeFileSync(join(root, 'etc/holdfast/config.yaml'), HEAD + POOL);
    const script = 'mount -t tmpfs -o ro none "$1" && exec "$2" "$3" install --root "$4" --cni-plugin=node';
    // In a mount namespace of its own, which goes with the command.
    const args = ['--mount', 'sh', '-ec', script, 'sh', join(root, BIN), process.execPath, HOLDFAST, root];
    const { code, stderr } = await command('unshare', ...args);
    t.match([code, stderr], [1, /nothing can be written into \/usr\/lib\/cni[\s\S]*PRECONDITION/]);
  },
);
