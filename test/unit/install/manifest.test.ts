// The record of an installation, also as another version wrote it.
import t from 'tap';
import { formatManifest, MANIFEST_HEAD, type Manifest, parseManifest } from '../../../agent/install/manifest.ts';

const PATH = '/var/lib/holdfast/install.json';
const MANIFEST: Manifest = {
  ...MANIFEST_HEAD,
  phase: 'done',
  program: '/opt/holdfast/1.0.0-aaaaaaaaaaaa',
  upstream: '/run/containerd/containerd.sock',
  files: { '/etc/x': { digests: ['aa'], before: { text: 'x', mode: 0o644 } } },
  madeGroup: true,
  kubelet: { unit: 'kubelet.service', file: '/etc/x', endpoint: 'unix:///x' },
};

t.test('what was written is read', async (t) => {
  t.strictSame(parseManifest(PATH, formatManifest(MANIFEST)), MANIFEST);
  t.equal(parseManifest(PATH, undefined), undefined);
});

t.test('keys that a later version adds are passed over at every level', async (t) => {
  const later = JSON.parse(formatManifest(MANIFEST));
  for (const part of [later, later.kubelet, later.files['/etc/x'], later.files['/etc/x'].before]) part.added = 1;
  t.strictSame(parseManifest(PATH, JSON.stringify(later)), MANIFEST);
});

t.test('one that means other things, or none of ours, is refused', async (t) => {
  const other = formatManifest({ ...MANIFEST }).replace('holdfast.dev/v1', 'holdfast.dev/v2');
  t.throws(() => parseManifest(PATH, other), { code: 'UNSUPPORTED', message: /v2/ });
  t.throws(() => parseManifest(PATH, '{"phase":'), { code: 'DAMAGED' });
  t.throws(() => parseManifest(PATH, formatManifest(MANIFEST).replace('done', 'doing')), { code: 'DAMAGED' });
});
