// The disk that every machine begins with: Debian 13 on one file system, its kernel beside it. Built in one to two minutes
// and kept in the cache; needs root, as mmdebstrap makes devices and runs the packages' scripts.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, copyFile, mkdir, readdir, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { HoldfastError } from '../../../lib/errors.ts';
import { fromCache } from '../../support/build-cache.ts';
import { aptSource } from './apt-source.ts';
import { guestFiles } from './guest-files.ts';
import { buildInitramfs, INIT } from './initramfs.ts';
import { runTool } from './tools.ts';

const RELEASE = 'trixie';

/** The cloud kernel: virtio, ext4 and device mapper, and a fifth of the other kernel's modules. */
const PACKAGES = [
  'linux-image-cloud-amd64',
  'systemd',
  'systemd-sysv',
  'dbus',
  'udev',
  'kmod',
  'containerd',
  'runc',
  'lvm2',
  'thin-provisioning-tools',
  'iproute2',
  'nftables',
  // containerd itself calls `loopback`.
  'containernetworking-plugins',
  'nodejs',
  'socat',
  'qemu-guest-agent',
  'busybox-static',
  'numactl',
  'hwloc-nox',
  'procps',
  // groupdel.
  'passwd',
];

/** Nobody reads them in there. */
const LEFT_OUT = [
  '/usr/share/doc/*',
  '/usr/share/man/*',
  '/usr/share/locale/*',
  '/usr/share/i18n/*',
  '/usr/share/info/*',
];

const DISK_BYTES = 6 * 1024 ** 3;

export interface MachineImage {
  readonly folder: string;
  readonly disk: string;
  readonly kernel: string;
  readonly initramfs: string;
}

function bootstrapArguments(root: string): readonly string[] {
  return [
    '--variant=apt',
    '--mode=root',
    '--format=directory',
    `--include=${PACKAGES.join(',')}`,
    '--aptopt=Apt::Install-Recommends "false"',
    ...LEFT_OUT.map((pattern) => `--dpkgopt=path-exclude=${pattern}`),
    RELEASE,
    root,
    '-',
  ];
}

/** mmdebstrap reads the sources from its standard input and tells its progress on standard error. */
async function bootstrap(root: string): Promise<void> {
  const source = await aptSource(RELEASE);
  const child = spawn('mmdebstrap', bootstrapArguments(root), {
    // The kernel's package makes no initramfs of its own: it would take longer than all of ours, and be ten times as big.
    env: { ...process.env, INITRD: 'No', NODE_OPTIONS: '', DEBIAN_FRONTEND: 'noninteractive' },
    stdio: ['pipe', 'ignore', 'pipe'],
  });
  let words = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    words = `${words}${text}`.slice(-4_000);
  });
  const closed = once(child, 'close').catch((error: unknown) => {
    throw new HoldfastError('PRECONDITION', 'mmdebstrap is not installed; npm test installs it', { cause: error });
  });
  child.stdin.on('error', () => undefined);
  child.stdin.end(`${source}\n`);
  const [code]: unknown[] = await closed;
  if (code !== 0) throw new HoldfastError('HOST_FAILURE', `mmdebstrap failed with ${String(code)}; it said:\n${words}`);
}

async function writeGuestFiles(root: string): Promise<void> {
  for (const file of guestFiles()) {
    const path = join(root, file.path);
    await mkdir(dirname(path), { recursive: true });
    await rm(path, { force: true });
    if ('target' in file) await symlink(file.target, path);
    else await writeFile(path, file.content);
    if ('mode' in file && file.mode !== undefined) await chmod(path, file.mode);
  }
}

async function onlyKernel(root: string): Promise<string> {
  const kernels = (await readdir(join(root, 'boot'))).filter((name) => name.startsWith('vmlinuz-'));
  if (kernels[0] === undefined || kernels.length > 1) {
    throw new HoldfastError('HOST_FAILURE', `the image has ${kernels.length} kernels in /boot, one is expected`);
  }
  return join(root, 'boot', kernels[0]);
}

function imageIn(folder: string): MachineImage {
  const path = (name: string): string => join(folder, name);
  return { folder, disk: path('disk.raw'), kernel: path('vmlinuz'), initramfs: path('initramfs') };
}

async function build(folder: string): Promise<void> {
  const image = imageIn(folder);
  const root = join(folder, 'root');
  process.stderr.write('test/vm: building the image of the virtual machines, which takes a minute or two\n');
  await bootstrap(root);
  await writeGuestFiles(root);
  await copyFile(await onlyKernel(root), image.kernel);
  await buildInitramfs(root, image.initramfs);
  await writeFile(image.disk, '');
  await truncate(image.disk, DISK_BYTES);
  await runTool('mkfs.ext4', ['-q', '-F', '-d', root, image.disk]);
  await rm(root, { recursive: true, force: true });
}

/**
 * The image, built when the cache has none of these packages and files.
 * @throws HoldfastError PRECONDITION without root or a program that is needed, HOST_FAILURE with the last words of a
 *   program that failed
 */
export async function machineImage(): Promise<MachineImage> {
  if (process.geteuid?.() !== 0) {
    throw new HoldfastError('PRECONDITION', 'building the image of the virtual machines needs root');
  }
  const inputs = [...bootstrapArguments('root'), JSON.stringify(guestFiles()), INIT, `${DISK_BYTES}`];
  return imageIn(await fromCache({ name: 'vm-image', inputs, build }));
}
