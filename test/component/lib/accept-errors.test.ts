// A connection that the kernel cannot give us, for want of memory or descriptors, ends nothing: told, and gone on.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import t, { type Test } from 'tap';
import { acceptErrors } from '../../../lib/accept-errors.ts';
import { listenUnix } from '../../../lib/unix-socket.ts';

async function makePath(t: Test): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'accept-'));
  t.teardown(() => rm(folder, { recursive: true }));
  return join(folder, 's');
}

/** A server that answers, as long as the test lasts. */
function makeServer(t: Test): Server {
  const server = createServer((socket) => socket.end('here'));
  t.teardown(() => void server.close());
  return server;
}

async function answers(path: string): Promise<string> {
  const [bytes] = await once(connect(path), 'data');
  return String(bytes);
}

const shortage = Object.assign(new Error('accept ENOBUFS'), { code: 'ENOBUFS' });

t.test('a unix socket: whoever opened it is told of each', async (t) => {
  const path = await makePath(t);
  const server = makeServer(t);
  const told: Error[] = [];
  await listenUnix(server, path, 0o600, (error) => void told.push(error));
  server.emit('error', shortage);
  server.emit('error', shortage);
  t.equal(told.length, 2);
  t.equal(await answers(path), 'here');
});

t.test('a unix socket without somebody to tell: standard error is warned', async (t) => {
  const path = await makePath(t);
  const server = makeServer(t);
  await listenUnix(server, path, 0o600);
  const warned = once(process, 'warning');
  server.emit('error', shortage);
  t.match(await warned, [{ message: `${path}: a connection could not be accepted: accept ENOBUFS` }]);
  t.equal(await answers(path), 'here');
});

t.test('an inherited socket: likewise', async (t) => {
  const path = await makePath(t);
  const owner = makeServer(t);
  await listenUnix(owner, path, 0o600);
  // Only another process can listen on it, too.
  const { fd } = (owner as unknown as { readonly _handle: { readonly fd: number } })._handle;
  const program = `
    import { createServer } from 'node:net';
    import { listenInherited } from ${JSON.stringify(import.meta.resolve('../../../lib/socket-activation.ts'))};
    const server = createServer();
    await listenInherited(server, 3);
    server.emit('error', new Error('accept ENOBUFS'));
    process.once('warning', ({ message }) => { console.log(message); process.exit(0); });
  `;
  const words = ['--import=tsx', '--input-type=module', '--eval', program];
  const child = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'inherit', fd] });
  t.match(await text(child.stdout as Readable), /a connection could not be accepted: accept ENOBUFS/);
});

t.test('a shortage that lasts is told of once a minute and not a thousand times a second', (t) => {
  const warnings: string[] = [];
  const tell = acceptErrors('a.sock', (text) => void warnings.push(text));
  for (let turn = 0; turn < 1000; turn += 1) tell(shortage);
  t.strictSame(warnings, ['a.sock: a connection could not be accepted: accept ENOBUFS']);
  t.end();
});
