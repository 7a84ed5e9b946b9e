// What is read of an image that is being prepared: its own files, and no process of the machine that prepares it.
import { symlink } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { factsOf, openHost, openInstallHost } from '../../../agent/cli/install-host.ts';

const { signal } = new AbortController();
const UNIT = '[Service]\nExecStart=/usr/bin/kubelet --v=2\n';

t.test('processes in /proc of a root directory are those of another machine', async (t) => {
  const root = t.testdir({
    proc: { 812: { cmdline: '/usr/bin/kubelet\0--config=/gone\0' } },
    usr: { lib: { systemd: { system: { 'kubelet.service': UNIT } } } },
  });
  const { kubelet } = await factsOf(await openHost(root, false), signal);
  t.match(kubelet, { pid: undefined, unit: { name: 'kubelet.service', commands: ['/usr/bin/kubelet --v=2'] } });
});

t.test('a unit behind an absolute link of the image', async (t) => {
  const root = t.testdir({ opt: { k: { 'kubelet.service': UNIT } }, etc: { systemd: { system: {} } } });
  await symlink('/opt/k/kubelet.service', join(root, 'etc/systemd/system/kubelet.service'));
  const { kubelet } = await factsOf(await openHost(root, false), signal);
  t.match(kubelet, { unit: { name: 'kubelet.service', commands: ['/usr/bin/kubelet --v=2'] } });
});

t.test('the root directory of this machine is none of an image', async (t) => {
  const root = t.testdir({});
  await symlink('/', join(root, 'link'));
  for (const path of ['/', '/proc/self/root', join(root, 'link')]) {
    await t.rejects(openInstallHost(path), { code: 'PRECONDITION', message: /is this machine/ });
  }
  t.equal((await openInstallHost(root)).root, root);
});
