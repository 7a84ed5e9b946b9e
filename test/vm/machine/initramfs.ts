// The smallest initramfs that finds the disk: the kernel has ext4 built in, and its driver of the disk as a module.
import { chmod, copyFile, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HoldfastError } from '../../../lib/errors.ts';
import { runShell } from './tools.ts';

export const INIT = `#!/bin/busybox sh
/bin/busybox mount -t devtmpfs none /dev
/bin/busybox insmod /virtio_blk.ko
until [ -b /dev/vda ]; do /bin/busybox usleep 20000; done
/bin/busybox mount -t ext4 /dev/vda /root || exec /bin/busybox poweroff -f
exec /bin/busybox switch_root /root /sbin/init
`;

async function findModule(root: string, name: string): Promise<string> {
  const modules = join(root, 'usr/lib/modules');
  const found = (await readdir(modules, { recursive: true })).find((path) => path.endsWith(`/${name}.ko.xz`));
  if (found === undefined) throw new HoldfastError('HOST_FAILURE', `the image's kernel has no module ${name}`);
  return join(modules, found);
}

/** @param root - the unpacked image, whose busybox and kernel module are taken */
export async function buildInitramfs(root: string, file: string): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-initramfs-'));
  try {
    for (const name of ['bin', 'dev', 'root']) await mkdir(join(folder, name));
    await copyFile(join(root, 'usr/bin/busybox'), join(folder, 'bin/busybox'));
    await runShell('xz -dc "$1" > "$2"', await findModule(root, 'virtio_blk'), join(folder, 'virtio_blk.ko'));
    await writeFile(join(folder, 'init'), INIT);
    await chmod(join(folder, 'init'), 0o755);
    await runShell('cd "$1" && find . | ./bin/busybox cpio -o -H newc > "$2"', folder, file);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
