// `holdfast reuse` against a real socket with the feature's own administration behind it.
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { adminHandlers } from '../../../agent/api/admin-service.ts';
import { implement, serveUnix } from '../../../agent/api/grpc-server.ts';
import { exportToFile } from '../../../agent/cli/reuse.ts';
import { Admin } from '../../../proto/gen/holdfast/admin/v1/admin_pb.ts';
import { FakeNode } from '../reuse/fake-node.ts';

const run = promisify(execFile);
const repository = fileURLToPath(new URL('../../..', import.meta.url));
const PROGRAM =
  "const { reuseCommand } = await import('./agent/cli/reuse.ts'); await reuseCommand().parseAsync(process.argv.slice(1), { from: 'user' });";
const NEVER = new AbortController().signal;

/** A node with one layer, its administration on a socket, and a directory for files. */
async function serve(t: Test): Promise<{ readonly socket: string; readonly directory: string }> {
  const node = await FakeNode.open();
  const id = await node.createAtRuntime(0, 'one');
  await node.feature.containerCreated?.({ ...node.creating(0, 'one'), containerId: id });
  await node.write(id, 'the-file');
  const directory = await mkdtemp(join(tmpdir(), 'holdfast-cli-'));
  const view = {
    version: '0',
    nodeName: 'node',
    startedAt: new Date(0),
    runtime: () => 'fake',
    status: () => [],
    layers: node.feature.admin,
    addresses: undefined,
    stateJson: () => '{}',
    configJson: () => '{}',
  };
  const server = await serveUnix({
    path: join(directory, 'agent.sock'),
    services: [implement(Admin, adminHandlers(view))],
    onFinished: () => {},
  });
  t.teardown(async () => {
    await server.close(0);
    await node.close();
    await rm(directory, { recursive: true, force: true });
  });
  return { socket: server.path, directory };
}

/** Runs the command as a process; a failure carries what it wrote. */
async function holdfast(...args: readonly string[]): Promise<string> {
  const { stdout } = await run(
    process.execPath,
    ['--import=tsx', '--input-type=module', '--eval', PROGRAM, '--', ...args],
    { cwd: repository },
  );
  return stdout;
}

t.test('ls, for people and for programs', async (t) => {
  const { socket } = await serve(t);
  t.match(await holdfast('ls', '--socket', socket), /^NAMESPACE.*\ndefault +pod-uid +app +attached/);
  const plain: unknown = JSON.parse(await holdfast('ls', '-o', 'json', '--socket', socket));
  t.match(plain, { layers: [{ pod: 'pod-uid', state: 'attached', handovers: 0, keptSinceMs: '0' }] });
});

t.test('export writes the file once, readable by root only', async (t) => {
  const { socket, directory } = await serve(t);
  const file = join(directory, 'layer.tar');
  t.match(await holdfast('export', 'pod-uid/app', file, '--socket', socket), /written/);
  t.ok((await readFile(file)).includes('./the-file'));
  t.equal((await stat(file)).mode & 0o777, 0o600);
  await t.rejects(holdfast('export', 'pod-uid/app', file, '--socket', socket), {
    message: /exists already/,
  });
  t.strictSame((await readdir(directory)).sort(), ['agent.sock', 'layer.tar'], 'nothing half-written is left');
});

t.test('export that fails leaves no file', async (t) => {
  const { socket, directory } = await serve(t);
  const file = join(directory, 'layer.tar');
  const argument = { pod: 'default/nobody', container: 'app' };
  await t.rejects(exportToFile(socket, argument, false, file, NEVER), { code: 'NOT_FOUND' });
  await t.rejects(exportToFile(socket, { ...argument, pod: 'uid' }, false, '/no/such/place/x.tar', NEVER), {
    code: 'HOST_FAILURE',
  });
  t.strictSame(await readdir(directory), ['agent.sock']);
});

t.test('reset, and what is not there', async (t) => {
  const { socket } = await serve(t);
  t.match(await holdfast('reset', 'pod-uid/app', '-n', 'default', '--socket', socket), /next attempt/);
  await t.rejects(holdfast('reset', 'pod-uid/app', '-n', 'other', '--socket', socket), {
    message: /there is no layer/,
  });
});
