// `npm test`: runs the test files with tap, prints a line for each as it ends, then every failure, every skip with its
// reason, and the closing line. The exit code is 0 only when nothing failed.
//
//   npm test [-- FILE|FOLDER…]      without them: all that .taprc includes, or all below --below=FOLDER; other options
//                                   (--jobs=1) go to tap
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { closingLine, type Summary, summarizeFile, total } from './results.ts';
import { tapStream } from './tap-stream.ts';

const BELOW = '--below=';
const ROOT = fileURLToPath(new URL('../..', import.meta.url));

function printFile(name: string, summary: Summary): void {
  const skipped = summary.skipped.length === 0 ? '' : `, ${summary.skipped.length} skipped`;
  const verdict = summary.failures.length === 0 ? 'ok  ' : 'FAIL';
  console.log(`${verdict} ${name} (${summary.passed} passed${skipped})`);
  for (const { name: failure, diagnostics } of summary.failures) {
    console.log(`\n  ✗ ${failure}`);
    if (diagnostics !== undefined) console.log(stringify(diagnostics).replace(/^/gm, '      '));
  }
}

/** tap takes files only. */
function testFiles(argument: string): readonly string[] {
  if (argument.startsWith('-')) return [argument];
  if (!statSync(join(ROOT, argument), { throwIfNoEntry: false })?.isDirectory()) return [argument];
  return readdirSync(join(ROOT, argument), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.test.ts'))
    .map((name) => join(argument, name));
}

/** The arguments for tap: options as they are, folders as their files; `--below` counts where no file is named. */
function tapArguments(given: readonly string[]): readonly string[] {
  const below = given.filter((argument) => argument.startsWith(BELOW)).map((argument) => argument.slice(BELOW.length));
  const rest = given.filter((argument) => !argument.startsWith(BELOW));
  const isSelected = rest.some((argument) => !argument.startsWith('-'));
  return [...rest, ...(isSelected ? [] : below)].flatMap(testFiles);
}

const summaries: Summary[] = [];
const parser = tapStream((file) => {
  const summary = summarizeFile(file);
  summaries.push(summary);
  printFile(file.name, summary);
});
const tap = spawn(
  process.execPath,
  ['node_modules/tap/dist/esm/run.mjs', 'run', '--reporter=tap', ...tapArguments(process.argv.slice(2))],
  {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'inherit'],
  },
);
tap.stdout.on('data', (chunk: Buffer) => parser.write(chunk));
const [exitCode, signal]: unknown[] = await once(tap, 'close');
parser.end();

const reported = total(summaries);
const broken: readonly string[] = [
  ...(summaries.length === 0 ? ['no test file was run'] : []),
  ...(exitCode !== 0 && reported.failures.length === 0 ? [`tap ended with ${String(exitCode ?? signal)}`] : []),
];
for (const name of broken) console.log(`\n  ✗ ${name}`);
const summary = total([reported, { passed: 0, skipped: [], failures: broken.map((name) => ({ name })) }]);
if (summary.skipped.length > 0) console.log('\nSkipped:');
for (const { name, reason } of summary.skipped) console.log(`  ${name}: ${reason}`);
if (summary.failures.length > 0) console.log('\nFailed:');
for (const { name } of summary.failures) console.log(`  ${name}`);
console.log(`\n${closingLine(summary)}`);
process.exitCode = summary.failures.length === 0 ? 0 : 1;
