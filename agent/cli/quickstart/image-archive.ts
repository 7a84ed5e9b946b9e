// Builds an image in the OCI layout (github.com/opencontainers/image-spec, image-layout.md) as one tar archive, which
// `ctr images import` takes: no registry is needed.
import { createHash } from 'node:crypto';
import { type TarEntry, writeTar } from './tar.ts';

export interface ImageDescription {
  /** Full reference with a tag, such as `holdfast.local/app:1`. */
  readonly reference: string;
  /** What each layer holds, the lowest first. */
  readonly layers: readonly (readonly TarEntry[])[];
  readonly command: readonly string[];
}

interface Blob {
  readonly digest: string;
  readonly content: Buffer;
}

const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64', arm: 'arm', ppc64: 'ppc64le' };

function blob(content: Buffer): Blob {
  return { digest: `sha256:${createHash('sha256').update(content).digest('hex')}`, content };
}

function jsonBlob(value: unknown): Blob {
  return blob(Buffer.from(JSON.stringify(value)));
}

function descriptor(mediaType: string, { digest, content }: Blob): object {
  return { mediaType, digest, size: content.byteLength };
}

/** The platform's name for the architecture of this Node.js: GOARCH, which is what image specifications use. */
export function imageArchitecture(nodeArchitecture: string = process.arch): string {
  return ARCHITECTURES[nodeArchitecture] ?? nodeArchitecture;
}

/** The tar archive of an image with uncompressed layers; the same description gives the same bytes. */
export function buildImageArchive({ reference, layers, command }: ImageDescription): Buffer {
  const layerBlobs = layers.map((entries) => blob(writeTar(entries)));
  const config = jsonBlob({
    architecture: imageArchitecture(),
    os: 'linux',
    config: { Env: ['PATH=/bin:/usr/bin'], Cmd: command, WorkingDir: '/' },
    rootfs: { type: 'layers', diff_ids: layerBlobs.map(({ digest }) => digest) },
    history: layerBlobs.map(() => ({ created: '1970-01-01T00:00:00Z' })),
  });
  const manifest = jsonBlob({
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: descriptor('application/vnd.oci.image.config.v1+json', config),
    layers: layerBlobs.map((layer) => descriptor('application/vnd.oci.image.layer.v1.tar', layer)),
  });
  const index = jsonBlob({
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.index.v1+json',
    manifests: [
      {
        ...descriptor('application/vnd.oci.image.manifest.v1+json', manifest),
        platform: { architecture: imageArchitecture(), os: 'linux' },
        annotations: { 'io.containerd.image.name': reference },
      },
    ],
  });
  const file = (path: string, content: Buffer): TarEntry => ({ type: 'file', path, mode: 0o644, content });
  const blobs = new Map([...layerBlobs, config, manifest].map((each) => [each.digest, each.content]));
  return writeTar([
    file('oci-layout', Buffer.from('{"imageLayoutVersion":"1.0.0"}')),
    file('index.json', index.content),
    ...[...blobs].map(([digest, content]) => file(`blobs/sha256/${digest.slice('sha256:'.length)}`, content)),
  ]);
}
