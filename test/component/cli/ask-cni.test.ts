// What doctor asks on cni.sock, with the agent's real server behind it, and with others.
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import { askPoolStatus } from '../../../agent/cli/ask-cni.ts';
import { HoldfastError } from '../../../lib/errors.ts';
import { startCniServer } from '../../support/cni-client.ts';
import { recordingHandler } from '../../support/recording-cni-handler.ts';

const NEVER = new AbortController().signal;

/** Something that listens and answers as the test says. */
async function listen(t: Test, answer: (socket: net.Socket) => void): Promise<string> {
  const path = join(mkdtempSync(join(tmpdir(), 'holdfast-ask-')), 'sock');
  t.teardown(() => rmSync(dirname(path), { recursive: true, force: true }));
  const server = net.createServer(answer);
  t.teardown(() => server.close());
  server.listen(path);
  await once(server, 'listening');
  return path;
}

t.test('a pool that can serve, and one that cannot', async (t) => {
  const good = recordingHandler();
  const { path } = await startCniServer(t, good);
  t.equal(await askPoolStatus(path, 'pods', NEVER), undefined);
  t.match(good.requests, [{ command: 'STATUS', config: { name: 'holdfast-doctor', pool: 'pods' } }]);
  const full = recordingHandler(() => {
    throw new HoldfastError('NO_ROOM', 'pool pods has no free IPv4 address');
  });
  const other = await startCniServer(t, full);
  t.match(await askPoolStatus(other.path, 'pods', NEVER), /pool pods has no free IPv4 address/);
});

t.test('nobody, one that goes, and one that says something else', async (t) => {
  const gone = join(t.testdir(), 'none');
  await t.rejects(askPoolStatus(gone, 'pods', NEVER), { code: 'UNAVAILABLE', message: 'no connection' });
  const closing = await listen(t, (socket) => socket.end('0 9'));
  await t.rejects(askPoolStatus(closing, 'pods', NEVER), { code: 'UNAVAILABLE' });
  const other = await listen(t, (socket) => socket.write('1 2\n[]'));
  await t.rejects(askPoolStatus(other, 'pods', NEVER), { code: 'HOST_FAILURE' });
  const controller = new AbortController();
  const silent = await listen(t, () => controller.abort());
  await t.rejects(askPoolStatus(silent, 'pods', controller.signal), {
    code: 'UNAVAILABLE',
    message: 'no answer in time',
  });
});
