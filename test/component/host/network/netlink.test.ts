// The kernel itself at the other end of the socket, and the main thread in foreign namespaces.
import { execFile } from 'node:child_process';
import { readlinkSync } from 'node:fs';
import { promisify } from 'node:util';
import t from 'tap';
import { openNetworkNamespace, openOwnNetworkNamespace } from '../../../../agent/host/netlink/namespace.ts';
import { openNetlinkSocket } from '../../../../agent/host/netlink/socket.ts';
import { decodeLink, deleteLink, getLink, listVeths } from '../../../../agent/host/network/messages/link.ts';
import { makeNamespace, NO_NETWORK_NAMESPACES } from '../../../support/network-namespaces.ts';
import { NEVER } from './support.ts';

const skip = NO_NETWORK_NAMESPACES;
const OWN = '/proc/thread-self/ns/net';

t.test('a socket stays in the namespace it was opened in', { skip }, async (t) => {
  const one = await makeNamespace(t, 'one');
  await one.ip('link add hfa0 type veth peer name hfa1');
  const namespace = await openNetworkNamespace(one.path);
  const socket = await openNetlinkSocket(namespace);
  t.teardown(() => socket.close());
  await namespace.close();
  const [there, lo, missing] = await socket.ask([getLink('hfa0'), getLink('lo'), getLink('none')], NEVER);
  t.match(there, { errno: 0, messages: [{}] });
  t.match(lo, { errno: 0 });
  t.match(missing, { errno: 19, messages: [] }, 'one answer for each, also for those behind a refused one');
  const [listing] = await socket.ask([listVeths()], NEVER);
  t.strictSame(listing?.messages.map((message) => decodeLink(message).name).sort(), ['hfa0', 'hfa1']);
  await t.rejects(socket.ask([listVeths(), getLink('lo')], NEVER), { code: 'BUG' });
  await t.rejects(
    socket.ask(
      Array.from({ length: 65 }, () => getLink('lo')),
      NEVER,
    ),
    { code: 'BUG' },
  );
  t.strictSame(await socket.ask([], NEVER), []);
});

t.test('a listing of many parts is whole', { skip }, async (t) => {
  const one = await makeNamespace(t, 'one');
  const namespace = await openNetworkNamespace(one.path);
  t.teardown(() => namespace.close());
  const count = 120;
  const script = Array.from({ length: count }, (_, index) => `link add hfm${index} type veth peer name hfn${index}`);
  await one.run('sh', '-c', `printf '${script.join('\\n')}\\n' | ip -batch -`);
  const socket = await openNetlinkSocket(namespace);
  t.teardown(() => socket.close());
  const [listing] = await socket.ask([listVeths()], NEVER);
  t.equal(new Set(listing?.messages.map((message) => decodeLink(message).name)).size, 2 * count);
});

t.test('the kernel’s explanation is handed on', { skip }, async (t) => {
  const one = await makeNamespace(t, 'one');
  const namespace = await openNetworkNamespace(one.path);
  t.teardown(() => namespace.close());
  const socket = await openNetlinkSocket(namespace);
  t.teardown(() => socket.close());
  const [refusal] = await socket.ask([{ ...getLink('lo'), payload: Buffer.alloc(4) }], NEVER);
  t.match(refusal, { errno: 22, explanation: /Invalid header/ });
  const [lo] = await socket.ask([deleteLink(1)], NEVER);
  t.not(lo?.errno, 0, 'lo cannot be removed');
});

t.test('the main thread comes back, whatever happens inside', { skip }, async (t) => {
  const one = await makeNamespace(t, 'one');
  const namespace = await openNetworkNamespace(one.path);
  t.teardown(() => namespace.close());
  const own = readlinkSync(OWN);
  t.not(
    namespace.run(() => readlinkSync(OWN)),
    own,
  );
  t.equal(readlinkSync(OWN), own);
  const failure = new Error('no');
  t.throws(() => {
    namespace.run(() => {
      throw failure;
    });
  }, failure);
  t.equal(readlinkSync(OWN), own);
  t.throws(() => namespace.run(async () => {}), { code: 'BUG' });
  t.equal(readlinkSync(OWN), own);
  const self = await openOwnNetworkNamespace();
  t.teardown(() => self.close());
  t.notOk(self.isSameAs(namespace));
  t.ok(self.isSameAs(self));
});

t.test('a thread that cannot come back ends the process, and says why', { skip }, async (t) => {
  const one = await makeNamespace(t, 'one');
  // What is needed for the way back is closed by the work itself.
  const program = `
    import { closeSync, readdirSync, readlinkSync } from 'node:fs';
    import { openNetworkNamespace } from '${new URL('../../../../agent/host/netlink/namespace.ts', import.meta.url).href}';
    const own = readlinkSync('${OWN}');
    const namespace = await openNetworkNamespace('${one.path}');
    namespace.run(() => {
      for (const fd of readdirSync('/proc/self/fd')) {
        try { if (readlinkSync('/proc/self/fd/' + fd) === own) closeSync(Number(fd)); } catch {}
      }
    });
    console.log('went on');
  `;
  const node = [process.execPath, '--import=tsx', '--input-type=module', '--eval', program];
  const outcome = await promisify(execFile)('sh', ['-c', 'ulimit -c 0; exec "$@"', 'sh', ...node]).catch(
    (error: unknown) => error,
  );
  t.match(outcome, { signal: 'SIGABRT', stdout: '', stderr: /cannot return to its own network namespace/ });
});
