import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { openHostTree } from '../../../agent/host/host-tree.ts';
import { findOverlayMount } from '../../../agent/host/mounts.ts';
import { parseOverlayMounts } from '../../../agent/host/mounts-parse.ts';
import { holds } from '../../support/properties.ts';

const NEVER = new AbortController().signal;

const HOST = `22 27 0:21 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
27 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,errors=remount-ro
`;
const mountOf = (point: string, upperdir: string): string =>
  `601 27 0:52 / ${point} rw,relatime shared:301 master:2 - overlay overlay rw,lowerdir=/s/1/fs,upperdir=${upperdir},workdir=/s/9/work\n`;

t.test('overlay mounts among all, as a kernel shows them', async (t) => {
  const text = `${HOST}${mountOf('/run/a\\040b/rootfs', '/s/9\\054x/fs')}602 27 0:53 / /ro ro - overlay overlay ro,lowerdir=/s/1:/s/2\n`;
  t.strictSame(parseOverlayMounts(text), [
    { mountPoint: '/run/a b/rootfs', upperdir: '/s/9,x/fs' },
    { mountPoint: '/ro', upperdir: undefined },
  ]);
});

t.test('lines of another form are passed over', async (t) => {
  for (const text of ['', '\n\n', ' - overlay ', 'a - overlay b', '1 2 3 4 5 - overlay', HOST]) {
    t.strictSame(parseOverlayMounts(text), [], JSON.stringify(text));
  }
});

t.test('properties', async (t) => {
  const escapeAsKernel = (path: string): string =>
    [...Buffer.from(path)]
      .map((byte) =>
        byte <= 0x20 || byte === 0x5c || byte === 0x2c || byte === 0x23
          ? `\\${byte.toString(8).padStart(3, '0')}`
          : String.fromCharCode(byte),
      )
      .join('');
  const path = fc.string({ unit: fc.constantFrom('a', '/', ' ', ',', '\\', '\n', '\t', '0', '#', '=', '-') });
  holds(
    t,
    'whatever a path holds, it is read as it is',
    fc.property(path, path, (point, upper) => {
      const [mount, ...more] = parseOverlayMounts(
        HOST + mountOf(escapeAsKernel(`/p${point}`), escapeAsKernel(`/u${upper}`)),
      );
      assert.deepEqual([mount, ...more], [{ mountPoint: `/p${point}`, upperdir: `/u${upper}` }]);
    }),
    300,
  );
  holds(
    t,
    'no text makes it throw',
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      parseOverlayMounts(text);
    }),
    300,
  );
});

/** A /proc with processes in mount namespaces, without the link or the file where they are undefined. */
async function fakeProc(
  t: { teardown(work: () => Promise<void>): void },
  processes: Readonly<Record<string, { readonly namespace?: string; readonly mountinfo?: string }>>,
): Promise<string> {
  const root = await mkdtemp(join(tmpdir(), 'holdfast-proc-'));
  t.teardown(() => rm(root, { recursive: true, force: true }));
  await mkdir(join(root, 'proc'));
  for (const [pid, { namespace, mountinfo }] of Object.entries(processes)) {
    await mkdir(join(root, 'proc', pid, 'ns'), { recursive: true });
    if (namespace !== undefined) await symlink(namespace, join(root, 'proc', pid, 'ns/mnt'));
    if (mountinfo !== undefined) await writeFile(join(root, 'proc', pid, 'mountinfo'), mountinfo);
  }
  return root;
}

t.test('a mount is found in whichever namespace has it', async (t) => {
  const root = await fakeProc(t, {
    1: { namespace: 'mnt:[1]', mountinfo: HOST },
    50: { namespace: 'mnt:[1]', mountinfo: 'not read: its namespace is known' },
    77: { namespace: 'mnt:[2]', mountinfo: HOST + mountOf('/elsewhere', '/s/9/fs') },
    self: {},
  });
  const tree = await openHostTree(root);
  t.strictSame(await findOverlayMount(tree, '/s/9/fs', NEVER), { pid: 77, mountPoint: '/elsewhere' });
  t.equal(await findOverlayMount(tree, '/s/9', NEVER), undefined);
  t.equal(await findOverlayMount(tree, '/s/9/fs/', NEVER), undefined);
});

t.test('processes come and go; another of the same namespace is asked', async (t) => {
  const root = await fakeProc(t, {
    10: { namespace: 'mnt:[2]' },
    11: { namespace: 'mnt:[2]', mountinfo: mountOf('/p', '/s/9/fs') },
    12: {},
  });
  t.match(await findOverlayMount(await openHostTree(root), '/s/9/fs', NEVER), { pid: 11 });
});

t.test('what cannot be looked into never counts as not mounted', async (t) => {
  const root = await fakeProc(t, { 10: { namespace: 'mnt:[2]' } });
  await mkdir(join(root, 'proc/10/mountinfo'));
  await t.rejects(findOverlayMount(await openHostTree(root), '/s/9/fs', NEVER), { code: 'HOST_FAILURE' });
  const empty = await mkdtemp(join(tmpdir(), 'holdfast-proc-'));
  t.teardown(() => rm(empty, { recursive: true, force: true }));
  await t.rejects(findOverlayMount(await openHostTree(empty), '/s/9/fs', NEVER), { code: 'HOST_FAILURE' });
});

t.test('a caller that gives up', async (t) => {
  const root = await fakeProc(t, { 1: { namespace: 'mnt:[1]', mountinfo: HOST } });
  const reason = new Error('enough');
  await t.rejects(findOverlayMount(await openHostTree(root), '/s', AbortSignal.abort(reason)), reason);
});
