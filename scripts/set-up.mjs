// Sets up a fresh machine: npm packages, generated code and build, Debian packages. Does only what is missing, so it
// can be run again at any time. Works before any npm package exists: Node built-ins only.
//
//   node scripts/set-up.mjs [--for-tests[=vm|kube]]
import { buildIfNeeded } from './build.mjs';
import { setUpDebianPackages } from './debian-packages.mjs';
import { setUpNpmPackages, setUpTap } from './npm-packages.mjs';

const NODE_FLOOR = [20, 19];

/** A progress line. */
function say(text) {
  process.stdout.write(`set-up: ${text}\n`);
}

function checkNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major > NODE_FLOOR[0] || (major === NODE_FLOOR[0] && minor >= NODE_FLOOR[1])) return;
  throw new Error(`Node.js ${NODE_FLOOR.join('.')} or newer is needed; this is ${process.versions.node}.`);
}

function build() {
  if (!buildIfNeeded()) throw new Error('The build failed; its messages are above.');
}

/** What the packages are for: the quickstart, the tests, and the tiers of tests that need more. */
function purposes() {
  const [option] = process.argv.slice(2);
  if (option === undefined) return ['quickstart'];
  if (option === '--for-tests') return ['quickstart', 'tests'];
  const tier = option.replace(/^--for-tests=/, '');
  if (tier !== 'vm' && tier !== 'kube') throw new Error(`${option} is not known; try --for-tests, =vm or =kube.`);
  return ['quickstart', 'tests', tier];
}

try {
  checkNode();
  const wanted = purposes();
  setUpNpmPackages(say);
  if (wanted.includes('tests')) setUpTap(say);
  build();
  setUpDebianPackages({ purposes: wanted, say });
  say('done');
} catch (error) {
  process.stderr.write(`set-up: ${error.message}\n`);
  process.exitCode = 1;
}
