// The images of quickstart and the tests, built from this machine's static busybox and given to a containerd.
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError, isErrno } from '../../../lib/errors.ts';
import { run } from './command.ts';
import { buildImageArchive, type ImageDescription } from './image-archive.ts';
import type { TarEntry } from './tar.ts';

/** A small app: busybox and a file `/etc/generation` that says `1`. */
export const APP_IMAGE = 'holdfast.local/app:1';
/** The same with another topmost layer: `/etc/generation` says `2`. For in-place upgrades. */
export const APP_IMAGE_NEXT = 'holdfast.local/app:2';
/** In every image, and nowhere else: a container that does not see it is not in a root filesystem of its own. */
export const IMAGE_MARKER = '/etc/holdfast-image';
/** The container that holds a sandbox's namespaces. */
export const PAUSE_IMAGE = 'holdfast.local/pause:1';

/** In a checkout the set-up keeps a static one to itself where the host has another. */
const UNPACKED = 'node_modules/.cache/holdfast/busybox-static';

/** From this file's place among the sources, and from its place in dist/. */
const BUSYBOX_PATHS = [
  '/bin/busybox',
  '/usr/bin/busybox',
  ...['../../..', '../../../..'].flatMap((up) =>
    ['bin', 'usr/bin'].map((folder) => join(import.meta.dirname, up, UNPACKED, folder, 'busybox')),
  ),
];

const APPLETS = [
  'sh ash cat cp cut chmod chown date dd df du echo env false find grep head hostname id kill ln ls md5sum mkdir',
  'mkfifo mount mv nc nproc od pidof printf ps pwd readlink rm rmdir sed seq sleep sort stat sync tail tar taskset',
  'test touch tr true truncate umount uname uniq usleep wc wget which xargs yes',
].flatMap((line) => line.split(' '));

/** Ends at once on TERM; as the first process of its PID namespace it would otherwise ignore it. */
const PAUSE_COMMAND = ['/bin/sh', '-c', "trap 'exit 0' TERM INT; while true; do sleep 3600 & wait; done"];

/** Whether an ELF program needs a dynamic loader: it has a program header of type PT_INTERP (elf(5)). */
export function isDynamicallyLinked(program: Buffer): boolean {
  const PT_INTERP = 3;
  const is64 = program[4] === 2;
  const bigEndian = program[5] === 2;
  const read16 = (at: number): number => (bigEndian ? program.readUInt16BE(at) : program.readUInt16LE(at));
  const read32 = (at: number): number => (bigEndian ? program.readUInt32BE(at) : program.readUInt32LE(at));
  const read64 = (at: number): number => Number(bigEndian ? program.readBigUInt64BE(at) : program.readBigUInt64LE(at));
  const offset = is64 ? read64(32) : read32(28);
  const size = read16(is64 ? 54 : 42);
  const count = read16(is64 ? 56 : 44);
  return Array.from({ length: count }, (_, index) => read32(offset + index * size)).includes(PT_INTERP);
}

/** @throws HoldfastError PRECONDITION when there is no busybox that runs without shared libraries */
async function readBusybox(): Promise<Buffer> {
  let refused = 'there is none';
  for (const path of BUSYBOX_PATHS) {
    try {
      const program = await readFile(path);
      if (!isDynamicallyLinked(program)) return program;
      refused = `${path} needs shared libraries`;
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error;
    }
  }
  const what = 'the images need a busybox without shared libraries';
  throw new HoldfastError('PRECONDITION', `${what}, and ${refused}; install the Debian package busybox-static`);
}

function directory(path: string, mode = 0o755): TarEntry {
  return { type: 'directory', path, mode };
}

function busyboxLayer(busybox: Buffer): readonly TarEntry[] {
  return [
    ...['bin/', 'dev/', 'etc/', 'proc/', 'root/', 'sys/', 'usr/', 'usr/bin/', 'var/'].map((path) => directory(path)),
    directory('tmp/', 0o1777),
    { type: 'file', path: 'bin/busybox', mode: 0o755, content: busybox },
    ...APPLETS.map((applet): TarEntry => ({ type: 'symlink', path: `bin/${applet}`, target: 'busybox' })),
    { type: 'file', path: IMAGE_MARKER.slice(1), mode: 0o444, content: Buffer.alloc(0) },
    { type: 'file', path: 'etc/passwd', mode: 0o644, content: Buffer.from('root:x:0:0:root:/root:/bin/sh\n') },
  ];
}

function generationLayer(generation: number): readonly TarEntry[] {
  return [{ type: 'file', path: 'etc/generation', mode: 0o644, content: Buffer.from(`${generation}\n`) }];
}

/** The three images; the same busybox gives the same digests. */
export async function describeImages(): Promise<readonly ImageDescription[]> {
  const base = busyboxLayer(await readBusybox());
  return [
    { reference: PAUSE_IMAGE, layers: [base], command: PAUSE_COMMAND },
    { reference: APP_IMAGE, layers: [base, generationLayer(1)], command: ['/bin/sh'] },
    { reference: APP_IMAGE_NEXT, layers: [base, generationLayer(2)], command: ['/bin/sh'] },
  ];
}

/**
 * Builds the images and imports them into the namespace of the CRI.
 * @param address - containerd's own socket
 * @param scratch - a directory for the archives; they are removed again
 */
export async function importImages(address: string, scratch: string, signal: AbortSignal): Promise<void> {
  for (const [index, image] of (await describeImages()).entries()) {
    const archive = join(scratch, `image-${index}.tar`);
    try {
      await writeFile(archive, buildImageArchive(image));
      await run('ctr', ['--address', address, '--namespace', 'k8s.io', 'images', 'import', archive], signal);
    } finally {
      await rm(archive, { force: true });
    }
  }
}
