// Attachments that cannot be made leave nothing behind.
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { makeNamespace, NO_NETWORK_NAMESPACES, type TestNamespace } from '../../../support/network-namespaces.ts';
import { BRIDGE, interfacesOf, ipv4Of, NEVER, planOf, ROUTED, startHost, type TestHost } from './support.ts';

const skip = NO_NETWORK_NAMESPACES;

async function isClean(t: Test, { host, links }: TestHost, sandbox: TestNamespace): Promise<void> {
  t.strictSame(await links.list('hfp', NEVER), [], 'no pair is left on the host');
  t.notOk((await interfacesOf(host)).some((name) => name.startsWith('hfp')));
  t.notOk((await interfacesOf(sandbox)).includes('eth0'));
}

t.test('a sandbox that has an interface of that name keeps it', { skip }, async (t) => {
  const testHost = await startHost(t);
  const one = await makeNamespace(t, 'one');
  await one.ip('link add eth0 type bridge');
  for (const dataPlane of [BRIDGE, ROUTED]) {
    await t.rejects(testHost.links.attach(one.path, planOf(11, { dataPlane }), NEVER), {
      code: 'INVALID_REQUEST',
      message: /has an interface eth0 already/,
    });
  }
  t.match(await one.ip('-d link show eth0'), /bridge/);
  t.strictSame(await testHost.links.list('hfp', NEVER), []);
});

t.test('a host with an interface of that name keeps it', { skip }, async (t) => {
  const { links, host } = await startHost(t);
  const [one, two] = [await makeNamespace(t, 'one'), await makeNamespace(t, 'two')];
  await links.attach(one.path, planOf(11), NEVER);
  await t.rejects(links.attach(two.path, planOf(11), NEVER), { code: 'PRECONDITION', message: /hfp11 already/ });
  t.ok(await host.reaches(ipv4Of(11)), 'the pod that has it goes on');
  t.strictSame(await interfacesOf(two), ['lo']);

  await host.ip('link add hfother type bridge');
  for (const work of [links.quiesce('hfother', NEVER), links.remove('hfother', NEVER)]) {
    await t.rejects(work, { code: 'PRECONDITION' }, 'what is no pair is not touched');
  }
  t.ok((await interfacesOf(host)).includes('hfother'));
  const onPair = planOf(12, { dataPlane: { ...BRIDGE, bridge: 'hfp11' } });
  await t.rejects(links.attach(two.path, onPair, NEVER), { code: 'PRECONDITION', message: /not a bridge/ });
});

t.test('a failure in the middle leaves nothing', { skip }, async (t) => {
  const testHost = await startHost(t);
  const { links } = testHost;
  const one = await makeNamespace(t, 'one');
  const unreachable = planOf(11, { routes: [{ destination: '198.51.100.0/24', via: '192.0.2.9' }] });
  await t.rejects(links.attach(one.path, unreachable, NEVER), {
    code: 'HOST_FAILURE',
    message: /route to 198\.51\.100\.0\/24: the kernel says .*"Nexthop has invalid gateway"/,
  });
  await isClean(t, testHost, one);

  const [ipv4] = planOf(11).addresses;
  if (ipv4 === undefined) throw new Error('it has one');
  const twice = planOf(11, { addresses: [ipv4, ipv4] });
  await t.rejects(links.attach(one.path, twice, NEVER), { code: 'HOST_FAILURE', message: /EEXIST/ });
  await isClean(t, testHost, one);

  await links.attach(one.path, planOf(11), NEVER);
  t.ok(await testHost.host.reaches(ipv4Of(11)), 'and a correct attempt succeeds');
});

t.test('a caller that gives up at any moment leaves all or nothing', { skip }, async (t) => {
  const testHost = await startHost(t);
  const { links } = testHost;
  const one = await makeNamespace(t, 'one');
  const reason = new Error('enough');
  await t.rejects(links.attach(one.path, planOf(11), AbortSignal.abort(reason)), reason);
  // The signal is asked before each exchange: it says stop at the first, the second, … time.
  for (let turn = 1; ; turn += 1) {
    let asked = 0;
    const controller = new AbortController();
    const signal = new Proxy(controller.signal, {
      get: (target, key) => {
        if (key === 'throwIfAborted') {
          asked += 1;
          if (asked === turn) controller.abort(reason);
        }
        const value: unknown = Reflect.get(target, key, target);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
    try {
      await links.attach(one.path, planOf(11), signal);
      t.ok(turn > 5, `it can be given up ${turn - 1} times on the way`);
      break;
    } catch (error) {
      t.equal(error, reason);
      await isClean(t, testHost, one);
    }
  }
  t.strictSame(await links.check(one.path, planOf(11), NEVER), []);
});

t.test('what is no network namespace, or the host itself, is refused', { skip }, async (t) => {
  const { links, host } = await startHost(t);
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-netns-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  await writeFile(join(folder, 'file'), '');
  await promisify(execFile)('mkfifo', [join(folder, 'pipe')]);
  const paths = [
    join(folder, 'file'),
    join(folder, 'none'),
    join(folder, 'pipe'),
    folder,
    '/dev/null',
    '/proc/self/ns/mnt',
    '/proc/self/ns/user',
    `${host.path}\0x`,
    '',
    host.path,
  ];
  for (const path of paths) {
    await t.rejects(links.attach(path, planOf(11), NEVER), { code: 'INVALID_REQUEST' }, JSON.stringify(path));
    await t.rejects(links.check(path, planOf(11), NEVER), { code: 'INVALID_REQUEST' });
  }
  t.strictSame(await links.list('hfp', NEVER), []);
});
