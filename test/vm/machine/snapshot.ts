// A booted machine of each shape, saved: its disk, and its memory and devices as QEMU's migration writes them into a file.
// A test goes on from there and saves the boot.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { pollUntil } from '../../../agent/cli/quickstart/poll.ts';
import { HoldfastError } from '../../../lib/errors.ts';
import { fromCache } from '../../support/build-cache.ts';
import {
  CONTAINERD_CONFIG,
  guestContainerdConfig,
  IMAGES_DIRECTORY,
  IMPORT_IMAGES,
  imageArchives,
  writeContainerdFiles,
} from './containerd.ts';
import type { MachineImage } from './image.ts';
import { qemuArguments, saveCommand } from './qemu.ts';
import { bootMachine, type RunningMachine, runIn, unpackInto } from './running.ts';
import type { MachineShape } from './shapes.ts';
import { runTool } from './tools.ts';

const SAVE_TIMEOUT_MS = 5 * 60_000;
const CACHE_PREFIX = 'vm-booted';

export interface BootedMachine {
  readonly folder: string;
  /** qcow2, on the image; the base of a test's own. */
  readonly disk: string;
  readonly state: string;
}

/** An empty disk that reads from `base` where nothing was written. */
export async function createOverlay(disk: string, base: string, baseFormat: 'raw' | 'qcow2'): Promise<void> {
  await runTool('qemu-img', ['create', '-q', '-f', 'qcow2', '-F', baseFormat, '-b', base, disk]);
}

async function prepare(machine: RunningMachine, archives: readonly Buffer[]): Promise<void> {
  const scratch = await mkdtemp(join(tmpdir(), 'holdfast-vm-images-'));
  try {
    await writeContainerdFiles(scratch, archives);
    await unpackInto(machine, [`--directory=${scratch}`, `--transform=s,^\\.,${IMAGES_DIRECTORY.slice(1)},`, '.']);
    await writeFile(join(scratch, 'config.toml'), guestContainerdConfig('systemd'));
    const target = CONTAINERD_CONFIG.slice(1);
    await unpackInto(machine, [`--directory=${scratch}`, `--transform=s,^config.toml$,${target},`, 'config.toml']);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
  await runIn(machine, IMPORT_IMAGES);
  await runIn(machine, 'sync');
}

const migration = z.object({ status: z.string().optional(), 'error-desc': z.string().optional() });

async function save({ qemu: { monitor } }: RunningMachine, file: string): Promise<void> {
  await monitor.execute('stop');
  // As fast as the disk takes it: the default is a limit for networks.
  await monitor.execute('migrate-set-parameters', { 'max-bandwidth': 8 * 1024 ** 3 });
  await monitor.execute('migrate', { uri: saveCommand(file) });
  await pollUntil('the machine to be saved', SAVE_TIMEOUT_MS, async () => {
    const { status, 'error-desc': reason } = migration.parse(await monitor.execute('query-migrate'));
    if (status === 'failed') throw new HoldfastError('HOST_FAILURE', `the machine cannot be saved: ${reason ?? ''}`);
    return status === 'completed' ? true : undefined;
  });
}

function bootedIn(folder: string): BootedMachine {
  return { folder, disk: join(folder, 'disk.qcow2'), state: join(folder, 'state') };
}

/**
 * The shape's booted machine, booted and saved now when the cache has none.
 * @throws HoldfastError as {@link bootMachine}
 */
export async function bootedMachine(image: MachineImage, shape: MachineShape): Promise<BootedMachine> {
  const archives = await imageArchives();
  const build = async (folder: string): Promise<void> => {
    const { disk, state } = bootedIn(folder);
    const directory = await mkdtemp(join(tmpdir(), 'holdfast-vm-boot-'));
    process.stderr.write(`test/vm: booting a machine of the shape ${shape.name}, to be saved\n`);
    try {
      await createOverlay(disk, image.disk, 'raw');
      const machine = await bootMachine({ shape, image, disk, directory });
      try {
        await prepare(machine, archives);
        await save(machine, state);
      } finally {
        await machine.qemu.kill();
      }
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  };
  const options = { shape, image, disk: 'disk', directory: 'directory' };
  const inputs = [
    execFileSync('qemu-system-x86_64', ['--version'], { encoding: 'utf8' }),
    ...qemuArguments(options),
    guestContainerdConfig('systemd'),
    IMPORT_IMAGES,
    ...archives.map((archive) => createHash('sha256').update(archive).digest('hex')),
  ];
  return bootedIn(await fromCache({ name: `${CACHE_PREFIX}-${shape.name}`, inputs, build }));
}

/** Of a booted machine that cannot be used: the next one is made anew. */
export async function discardBooted({ folder }: BootedMachine): Promise<void> {
  await rm(folder, { recursive: true, force: true });
}
