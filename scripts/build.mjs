// Builds a checkout: proto/gen from the .proto files, dist/ from the TypeScript sources. Does nothing where both are
// newer than what they are made of. Types are checked by `npm run typecheck`, not here: a build is in everybody's way.
import { spawnSync } from 'node:child_process';
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const CACHE = join(ROOT, 'node_modules', '.cache', 'holdfast');
const LOCK = join(CACHE, 'build.lock');
const LOCK_TIMEOUT_MS = 180_000;

/** What each output is made of; its stamp file is as old as the newest source it was made from. */
const GENERATED = {
  stamp: join(ROOT, 'proto', 'gen', '.stamp'),
  sources: ['buf.gen.yaml', 'buf.yaml', 'proto/holdfast', 'proto/wire'],
};
const DIST = {
  stamp: join(ROOT, 'dist', '.stamp'),
  sources: [
    'tsconfig.json',
    'tsconfig.build.json',
    'lib',
    'agent',
    'cri-shim',
    'cni-plugin',
    'extender',
    ...GENERATED.sources,
  ],
};

/** The newest change below a file or directory, in milliseconds; a directory changes when an entry comes or goes. */
function newest(path) {
  const stat = statSync(path);
  if (!stat.isDirectory()) return stat.mtimeMs;
  return readdirSync(path, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() || /\.(?:ts|proto)$/.test(entry.name))
    .reduce((latest, entry) => Math.max(latest, newest(join(path, entry.name))), stat.mtimeMs);
}

/** The time that the output's stamp must have, or undefined when the output is up to date. */
function outdated({ stamp, sources }) {
  const wanted = Math.max(...sources.map((source) => newest(join(ROOT, source))));
  const stat = statSync(stamp, { throwIfNoEntry: false });
  return stat !== undefined && stat.mtimeMs >= Math.floor(wanted) ? undefined : wanted;
}

function writeStamp(path, timeMs) {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, '');
  // Upwards, because file systems keep times at different precisions.
  utimesSync(path, new Date(), new Date(Math.ceil(timeMs)));
}

/** Runs a program of node_modules/.bin; what it prints is shown only when it fails. */
function run(program, args) {
  const path = `${join(ROOT, 'node_modules', '.bin')}:${process.env.PATH}`;
  // Loaders that NODE_OPTIONS may name (tap's does) cannot load these programs; env(1) takes it away for good.
  const result = spawnSync('env', ['-u', 'NODE_OPTIONS', program, ...args], {
    cwd: ROOT,
    env: { ...process.env, PATH: path },
    encoding: 'utf8',
  });
  if (result.status === 0) return true;
  process.stderr.write(`${result.stdout ?? ''}${result.stderr ?? ''}${result.error?.message ?? ''}\n`);
  process.stderr.write(`holdfast: ${program} ${args.join(' ')} failed; nothing was built\n`);
  return false;
}

function generate() {
  const wanted = outdated(GENERATED);
  if (wanted === undefined) return true;
  process.stderr.write('holdfast: generating proto/gen\n');
  if (!run('buf', ['generate'])) return false;
  writeStamp(GENERATED.stamp, wanted);
  return true;
}

function compile() {
  const wanted = outdated(DIST);
  if (wanted === undefined) return true;
  process.stderr.write('holdfast: building dist\n');
  const fresh = join(CACHE, `dist-${process.pid}`);
  const old = join(CACHE, `dist-old-${process.pid}`);
  try {
    if (!run('tsc', ['-p', 'tsconfig.build.json', '--noCheck', '--outDir', fresh])) return false;
    writeStamp(join(fresh, '.stamp'), wanted);
    // Swapped as a whole: a program that starts meanwhile finds the old tree or the new one.
    if (statSync(join(ROOT, 'dist'), { throwIfNoEntry: false }) !== undefined) renameSync(join(ROOT, 'dist'), old);
    renameSync(fresh, join(ROOT, 'dist'));
    return true;
  } finally {
    for (const path of [fresh, old]) rmSync(path, { recursive: true, force: true });
  }
}

function isRunning(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

/** The process that builds; 0 when there is none, or it is not known yet. */
function lockOwner() {
  try {
    return Number(readFileSync(LOCK, 'utf8'));
  } catch (error) {
    if (error.code === 'ENOENT') return 0;
    throw error;
  }
}

/** Agent and cri-shim may start at the same moment: one builds, the other waits. */
function withLock(work) {
  mkdirSync(CACHE, { recursive: true });
  const deadline = Date.now() + LOCK_TIMEOUT_MS;
  for (;;) {
    try {
      const file = openSync(LOCK, 'wx');
      writeFileSync(file, `${process.pid}`);
      closeSync(file);
      break;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
      const owner = lockOwner();
      // An owner of 0 is one that has not written its number yet, or died before it could.
      if ((owner > 0 && !isRunning(owner)) || Date.now() > deadline) rmSync(LOCK, { force: true });
      else Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50);
    }
  }
  try {
    return work();
  } finally {
    rmSync(LOCK, { force: true });
  }
}

/**
 * @param {{ onlyGenerate?: boolean }} [options]
 * @returns {boolean} false after a failure, whose reason was printed
 */
export function buildIfNeeded({ onlyGenerate = false } = {}) {
  const done = () => outdated(GENERATED) === undefined && (onlyGenerate || outdated(DIST) === undefined);
  if (done()) return true;
  if (statSync(join(ROOT, 'node_modules'), { throwIfNoEntry: false }) === undefined) {
    process.stderr.write('holdfast: the npm packages are missing; run "npm ci" or "node scripts/set-up.mjs" first\n');
    return false;
  }
  return withLock(() => generate() && (onlyGenerate || compile()));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.exitCode = buildIfNeeded({ onlyGenerate: process.argv.includes('--only-generate') }) ? 0 : 1;
}
