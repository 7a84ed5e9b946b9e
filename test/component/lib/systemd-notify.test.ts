import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { connectServiceManager } from '../../../lib/systemd-notify.ts';
import { receiveDatagrams } from './support/libc.ts';

async function startReceiver(t: { teardown(handler: () => Promise<void>): void }, path: string) {
  const receiver = receiveDatagrams(path);
  t.teardown(async () => receiver.close());
  return receiver;
}

t.test('states arrive at a socket in the file system, and the watchdog is fed', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'notify-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const path = join(directory, 'notify.sock');
  const receiver = await startReceiver(t, path);
  const env = { NOTIFY_SOCKET: path, WATCHDOG_USEC: '20000', WATCHDOG_PID: String(process.pid) };
  const systemd = await connectServiceManager(env, (error) => t.fail(String(error)));
  t.same(receiver.take(), [], 'nothing before the service is ready');
  systemd.ready();
  t.same(receiver.take(), [`READY=1\nMAINPID=${process.pid}`]);
  const pings: string[] = [];
  while (pings.length < 3) {
    await new Promise((resolve) => setTimeout(resolve, 5));
    pings.push(...receiver.take());
  }
  t.same(pings.slice(0, 3), ['WATCHDOG=1', 'WATCHDOG=1', 'WATCHDOG=1']);
  systemd.close();
  receiver.take();
  systemd.stopping();
  t.same(receiver.take(), ['STOPPING=1']);
});

t.test('states arrive at an abstract socket', async (t) => {
  const name = `@holdfast-test-${process.pid}`;
  const receiver = await startReceiver(t, name);
  const systemd = await connectServiceManager({ NOTIFY_SOCKET: name }, (error) => t.fail(String(error)));
  systemd.ready();
  t.match(receiver.take(), [/^READY=1/]);
  systemd.close();
});

t.test('without systemd nothing is sent, with a broken one the service goes on', async (t) => {
  const problems: unknown[] = [];
  const silent = await connectServiceManager({}, (error) => problems.push(error));
  silent.ready();
  silent.stopping();
  silent.close();
  t.same(problems, []);
  const nobody = await connectServiceManager({ NOTIFY_SOCKET: '/nowhere/notify' }, (error) => problems.push(error));
  nobody.ready();
  t.match(problems, [{ code: 'HOST_FAILURE', message: /READY=1.*errno/s }]);
  nobody.close();
  await connectServiceManager({ NOTIFY_SOCKET: 'vsock:2:1' }, (error) => problems.push(error));
  t.match(problems[1], { code: 'UNSUPPORTED' });
});
