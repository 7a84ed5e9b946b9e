// Files and folders as an operator leaves them, and the command that checks them.
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { configPaths, listConfigFiles, loadConfig } from '../../../agent/config/load.ts';

const run = promisify(execFile);
const HEAD = 'apiVersion: holdfast.dev/v1\nkind: AgentConfig\n';

async function folder(t: Test): Promise<string> {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'holdfast-config-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

t.test('drop-ins are read in lexical order after the file', async (t) => {
  const directory = await folder(t);
  await mkdir(path.join(directory, 'config.d'));
  const file = path.join(directory, 'config.yaml');
  await writeFile(file, `${HEAD}reuse: {budget: 1Gi, maxAge: 1d}\n`);
  await writeFile(path.join(directory, 'config.d', '20-b.yaml'), `${HEAD}reuse: {budget: 3Gi}\n`);
  await writeFile(path.join(directory, 'config.d', '10-a.yaml'), `${HEAD}reuse: {budget: 2Gi}\nnodeName: n1\n`);
  await writeFile(path.join(directory, 'config.d', 'README'), 'not read');
  await writeFile(path.join(directory, 'config.d', '.30.yaml'), 'nor this: [');
  const { config, files } = await loadConfig(configPaths(file));
  t.equal(config.reuse.budget, 3 * 1024 ** 3);
  t.equal(config.reuse.maxAge, 86_400_000);
  t.equal(config.nodeName, 'n1');
  t.strictSame(
    files.map((each) => path.basename(each)),
    ['config.yaml', '10-a.yaml', '20-b.yaml'],
  );
});

t.test('absent files mean defaults, unless the user named them', async (t) => {
  const directory = await folder(t);
  const file = path.join(directory, 'config.yaml');
  const { files } = await loadConfig({ file, directory: path.join(directory, 'config.d') });
  t.strictSame(files, []);
  await t.rejects(loadConfig(configPaths(file)), {
    code: 'INVALID_CONFIG',
    message: /config\.yaml:1:1: cannot be read: ENOENT/,
  });
  t.equal(configPaths().file, '/etc/holdfast/config.yaml');
  t.equal(configPaths().directory, '/etc/holdfast/config.d');
});

t.test('what is no file of bearable size is a problem, not a wait', async (t) => {
  const directory = await folder(t);
  await run('mkfifo', [path.join(directory, 'fifo')]);
  await t.rejects(loadConfig(configPaths(path.join(directory, 'fifo'))), { message: /is not a regular file/ });
  await t.rejects(loadConfig(configPaths(directory)), { message: /is not a regular file/ });
  await writeFile(path.join(directory, 'large.yaml'), '#'.repeat(2 * 1024 * 1024));
  await t.rejects(loadConfig(configPaths(path.join(directory, 'large.yaml'))), { message: /has 2097152 bytes/ });
  await t.rejects(listConfigFiles({ file: '/nonexistent', directory: path.join(directory, 'fifo') }), {
    code: 'INVALID_CONFIG',
  });
});

t.test('many problems are cut to the first ten', async (t) => {
  const directory = await folder(t);
  const file = path.join(directory, 'config.yaml');
  const unknown = Array.from({ length: 15 }, (_, n) => `key${n}: 1\n`).join('');
  await writeFile(file, `${HEAD}${unknown}`);
  await t.rejects(loadConfig(configPaths(file)), { message: /key9 is unknown.*; and 5 more$/ });
});

t.test('the command: check, show, schema', async (t) => {
  const directory = await folder(t);
  const file = path.join(directory, 'config.yaml');
  await writeFile(file, `${HEAD}nodeName: n1\n`);
  const program = path.join(directory, 'program.mts');
  const source = new URL('../../../agent/cli/config.ts', import.meta.url).href;
  await writeFile(
    program,
    `const { configCommand } = await import(${JSON.stringify(source)});\n` +
      `await configCommand().parseAsync(process.argv.slice(2), { from: 'user' });\n`,
  );
  const holdfast = (...args: readonly string[]) =>
    run(process.execPath, ['--import=tsx', program, ...args]).catch(
      (error: { readonly code: number; readonly stderr: string; readonly stdout: string }) => error,
    );
  t.match(await holdfast('check', file), { stdout: `${file}: valid\n` });
  t.match(await holdfast('check', '--config', file), { stdout: `${file}: valid\n` });
  t.match(await holdfast('show', '--config', file), { stdout: /^nodeName: n1 # .*config\.yaml:3$/m });
  const { stdout } = await holdfast('show', '-o', 'json', '--config', file);
  t.match(JSON.parse(stdout), { nodeName: 'n1', reuse: { budget: '20Gi' } });
  t.match(JSON.parse((await holdfast('schema')).stdout), { type: 'object' });
  await writeFile(file, `${HEAD}nodename: n1\n`);
  t.match(await holdfast('check', file), { code: 1, stderr: new RegExp(`^${file}:3:1: nodename is unknown`) });
});
