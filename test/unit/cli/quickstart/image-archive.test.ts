import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { buildImageArchive, imageArchitecture } from '../../../../agent/cli/quickstart/image-archive.ts';
import { isDynamicallyLinked } from '../../../../agent/cli/quickstart/images.ts';
import type { TarEntry } from '../../../../agent/cli/quickstart/tar.ts';

const LAYER: readonly TarEntry[] = [{ type: 'file', path: 'a', mode: 0o644, content: Buffer.from('a') }];
const TOP: readonly TarEntry[] = [{ type: 'file', path: 'b', mode: 0o644, content: Buffer.from('b') }];

t.test('every blob is named by its digest, and index, manifest and config lead to each other', async (t) => {
  const directory = t.testdir();
  const image = { reference: 'holdfast.local/x:1', layers: [LAYER, TOP], command: ['/bin/sh'] };
  const archive = buildImageArchive(image);
  execFileSync('tar', ['--extract', '--file=-', '--directory', directory], { input: archive });
  const blob = (digest: string): Buffer => {
    const content = readFileSync(join(directory, 'blobs/sha256', digest.replace('sha256:', '')));
    t.equal(`sha256:${createHash('sha256').update(content).digest('hex')}`, digest);
    return content;
  };
  const index = JSON.parse(readFileSync(join(directory, 'index.json'), 'utf8'));
  t.match(index.manifests[0].annotations, { 'io.containerd.image.name': 'holdfast.local/x:1' });
  const manifest = JSON.parse(blob(index.manifests[0].digest).toString());
  const config = JSON.parse(blob(manifest.config.digest).toString());
  t.strictSame(config.config.Cmd, ['/bin/sh']);
  t.strictSame(
    config.rootfs.diff_ids,
    manifest.layers.map((layer: { digest: string }) => layer.digest),
    'uncompressed layers: diff IDs are digests',
  );
  for (const layer of manifest.layers) t.equal(blob(layer.digest).byteLength, layer.size);
  t.ok(archive.equals(buildImageArchive(image)), 'the same description gives the same bytes');
});

t.test('architectures are named as Go does', async (t) => {
  t.strictSame(['x64', 'arm64', 'riscv64'].map(imageArchitecture), ['amd64', 'arm64', 'riscv64']);
});

t.test('a program that needs a loader is told from one that does not', async (t) => {
  t.ok(isDynamicallyLinked(readFileSync(process.execPath)), 'Node.js itself');
  const header = Buffer.alloc(64 + 56);
  header.write('\x7fELF\x02\x01', 'latin1');
  header.writeBigUInt64LE(64n, 32);
  header.writeUInt16LE(56, 54);
  header.writeUInt16LE(1, 56);
  header.writeUInt32LE(1, 64); // PT_LOAD
  t.notOk(isDynamicallyLinked(header));
  header.writeUInt32LE(3, 64); // PT_INTERP
  t.ok(isDynamicallyLinked(header));
});
