// The npm part of the set-up: `npm ci` when node_modules is not what package-lock.json says, and tap's own build.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** The packages that a lock file lists, or undefined when it cannot be read. */
function lockedPackages(path) {
  try {
    return JSON.parse(readFileSync(join(ROOT, path), 'utf8')).packages;
  } catch {
    return undefined;
  }
}

/** Whether every package of the lock file is installed in its version; those for other platforms are not. */
function isInstalled() {
  const wanted = lockedPackages('package-lock.json');
  const present = lockedPackages('node_modules/.package-lock.json');
  if (wanted === undefined || present === undefined) return false;
  return Object.entries(wanted).every(
    ([path, { version, optional }]) =>
      path === '' || present[path]?.version === version || (optional === true && present[path] === undefined),
  );
}

function runNpm(args, failure) {
  const result = spawnSync('npm', args, { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] });
  if (result.error?.code === 'ENOENT') throw new Error('npm is not installed; install the Debian package npm.');
  if (result.status !== 0) throw new Error(failure);
}

export function setUpNpmPackages(say) {
  if (isInstalled()) return;
  say('installing npm packages (about 30 s)');
  runNpm(
    ['ci', '--loglevel=error'],
    '"npm ci" could not install the npm packages; is there a network and room on the disk?',
  );
}

/** tap is told by .taprc to do without some of its plugins, and has to be built again for that. */
export function setUpTap(say) {
  const unwanted = [...readFileSync(join(ROOT, '.taprc'), 'utf8').matchAll(/^ *- "!(.+)"$/gm)].map(([, name]) => name);
  const built = readFileSync(join(ROOT, 'node_modules/@tapjs/test/test-built/dist/esm/index.js'), 'utf8');
  if (!unwanted.some((name) => built.includes(`"${name}"`))) return;
  say('building tap with the plugins of .taprc (about 15 s)');
  runNpm(['exec', '--loglevel=error', '--', 'tap', 'build'], '"tap build" failed; remove node_modules and try again.');
}
