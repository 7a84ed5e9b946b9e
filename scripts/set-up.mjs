// Sets up a fresh machine: npm packages, generated code and build, Debian packages. Does only what is missing, so it
// can be run again at any time. Works before any npm package exists: Node built-ins only.
//
//   node scripts/set-up.mjs [--for-tests]
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

const forTests = process.argv.includes('--for-tests');
try {
  checkNode();
  setUpNpmPackages(say);
  if (forTests) setUpTap(say);
  build();
  setUpDebianPackages({ forTests, say });
  say('done');
} catch (error) {
  process.stderr.write(`set-up: ${error.message}\n`);
  process.exitCode = 1;
}
