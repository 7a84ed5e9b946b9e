// Many sandboxes at the same time, and what the process has open and where it is afterwards.
import { readdirSync, readlinkSync } from 'node:fs';
import t from 'tap';
import { makeNamespace, NO_NETWORK_NAMESPACES } from '../../../support/network-namespaces.ts';
import { BRIDGE, interfacesOf, ipv4Of, ipv6Of, NEVER, planOf, ROUTED, startHost } from './support.ts';

const COUNT = 50;
const numbers = Array.from({ length: COUNT }, (_, index) => index + 11);

/** Sockets and namespaces; other files of the process come and go by themselves. */
function descriptors(): number {
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return /^socket:|^net:|^\/run\/netns\//.test(readlinkSync(`/proc/self/fd/${fd}`));
    } catch {
      return false;
    }
  }).length;
}

t.test(`${COUNT} sandboxes at once`, { skip: NO_NETWORK_NAMESPACES }, async (t) => {
  const own = readlinkSync('/proc/thread-self/ns/net');
  for (const dataPlane of [BRIDGE, ROUTED]) {
    await t.test(`in ${dataPlane.mode} mode`, async (t) => {
      const { links, host } = await startHost(t);
      const sandboxes = await Promise.all(numbers.map((number) => makeNamespace(t, `s${number}`)));
      const pathOf = (index: number): string => sandboxes[index]?.path ?? '';
      const plans = numbers.map((number) => planOf(number, { dataPlane }));
      const before = descriptors();

      const made = await Promise.all(plans.map((plan, index) => links.attach(pathOf(index), plan, NEVER)));
      t.equal(new Set(made.map(({ hostMac }) => hostMac)).size, COUNT);
      const problems = await Promise.all(plans.map((plan, index) => links.check(pathOf(index), plan, NEVER)));
      t.strictSame(problems.flat(), []);
      t.equal((await links.list('hfp', NEVER)).length, COUNT);
      const [first] = sandboxes;
      const last = numbers.at(-1) ?? 0;
      t.ok(await first?.reaches(ipv4Of(last)));
      t.ok(await first?.reaches(ipv6Of(last)));
      if (dataPlane.mode === 'bridge') {
        t.equal((await host.ip('-4 -o address show hfbr0')).trim().split('\n').length, 1, 'one bridge, one gateway');
      }

      await Promise.all(plans.map(({ hostName }) => links.quiesce(hostName, NEVER)));
      t.notOk(await host.canReach(ipv4Of(last)));
      await Promise.all(plans.map(({ hostName }) => links.remove(hostName, NEVER)));
      t.strictSame(await links.list('hfp', NEVER), []);
      t.notOk((await interfacesOf(host)).some((name) => name.startsWith('hfp')));
      t.equal(descriptors(), before, 'no socket and no namespace stays open');
    });
  }
  t.equal(readlinkSync('/proc/thread-self/ns/net'), own, 'the main thread is where it was');
  for (const task of readdirSync('/proc/self/task')) {
    t.equal(readlinkSync(`/proc/self/task/${task}/ns/net`), own, `thread ${task} is, too`);
  }
});

t.test('one attachment asked for twice at once is made once', { skip: NO_NETWORK_NAMESPACES }, async (t) => {
  const { links, host } = await startHost(t);
  const one = await makeNamespace(t, 'one');
  const results = await Promise.allSettled([1, 2].map(() => links.attach(one.path, planOf(11), NEVER)));
  t.strictSame(results.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
  t.ok(await host.reaches(ipv4Of(11)));
});

t.test('after closing nothing can be asked', { skip: NO_NETWORK_NAMESPACES }, async (t) => {
  const { links } = await startHost(t);
  await links.close();
  await t.rejects(links.list('hfp', NEVER), { code: 'UNAVAILABLE' });
});
