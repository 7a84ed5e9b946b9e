// Machines saved while they ran: their disk, and their memory and devices as QEMU's migration writes them into a file. A
// test goes on from there and saves the boot, and what was done after it.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { z } from 'zod';
import { pollUntil } from '../../../agent/cli/quickstart/poll.ts';
import { describeError, HoldfastError } from '../../../lib/errors.ts';
import { fromCache } from '../../support/build-cache.ts';
import {
  CONTAINERD_CONFIG,
  guestContainerdConfig,
  IMAGES_DIRECTORY,
  IMPORT_IMAGES,
  imageArchives,
} from './containerd.ts';
import { PRODUCT_DIRECTORY } from './guest-files.ts';
import type { MachineImage } from './image.ts';
import { plugProduct, qemuArguments, saveCommand } from './qemu.ts';
import { bootMachine, type RunningMachine, resumeMachine, runIn, unpackInto, writeInto } from './running.ts';
import type { MachineShape } from './shapes.ts';
import { runTool } from './tools.ts';

const SAVE_TIMEOUT_MS = 5 * 60_000;

/** What a machine is made of, and where it puts its sockets and its log. */
export interface MachineParts {
  readonly shape: MachineShape;
  readonly image: MachineImage;
  /** The disk with the build under test. */
  readonly product: string;
  readonly directory: string;
}

/** What is done to a booted machine before it is saved, for all tests that begin with it. */
export interface SetUp {
  readonly name: string;
  /** Everything that `run` depends on, beside the product. */
  readonly inputs: readonly string[];
  readonly run: (machine: RunningMachine) => Promise<void>;
}

interface SavedMachine {
  readonly folder: string;
  /** qcow2; the base of a test's own. */
  readonly disk: string;
  readonly state: string;
  /** Where it was plugged in when the machine was saved. */
  readonly product?: string;
}

/** An empty disk that reads from `base` where nothing was written. */
async function createOverlay(disk: string, base: string, baseFormat: 'raw' | 'qcow2'): Promise<void> {
  await rm(disk, { force: true });
  await runTool('qemu-img', ['create', '-q', '-f', 'qcow2', '-F', baseFormat, '-b', base, disk]);
}

async function prepare(machine: RunningMachine, archives: readonly Buffer[]): Promise<void> {
  const scratch = await mkdtemp(join(tmpdir(), 'holdfast-vm-images-'));
  try {
    const images = join(scratch, IMAGES_DIRECTORY);
    await mkdir(images, { recursive: true });
    for (const [index, archive] of archives.entries()) await writeFile(join(images, `${index}.tar`), archive);
    await unpackInto(machine, [`--directory=${scratch}`, IMAGES_DIRECTORY.slice(1)]);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
  await writeInto(machine, { [CONTAINERD_CONFIG]: guestContainerdConfig('systemd') });
  await runIn(machine, IMPORT_IMAGES);
}

const migration = z.object({ status: z.string().optional(), 'error-desc': z.string().optional() });

async function save(machine: RunningMachine, file: string): Promise<void> {
  const { monitor } = machine.qemu;
  await runIn(machine, 'sync');
  await monitor.execute('stop');
  // As fast as the disk takes it: the default is a limit for networks.
  await monitor.execute('migrate-set-parameters', { 'max-bandwidth': 8 * 1024 ** 3 });
  await monitor.execute('migrate', { uri: saveCommand(file) });
  await pollUntil('the machine to be saved', SAVE_TIMEOUT_MS, async () => {
    const { status, 'error-desc': reason } = migration.parse(await monitor.execute('query-migrate'));
    if (status === 'failed') throw new HoldfastError('HOST_FAILURE', `the machine cannot be saved: ${reason ?? ''}`);
    return status === 'completed' ? true : undefined;
  });
  await pollUntil('what was saved to be on the disk', SAVE_TIMEOUT_MS, () => stat(file));
}

function savedIn(folder: string): SavedMachine {
  return { folder, disk: join(folder, 'disk.qcow2'), state: join(folder, 'state') };
}

/** In a directory of its own, which lasts as long as the machine that is to be saved. */
async function inDirectory(work: (directory: string) => Promise<void>): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), `holdfast-vm-${process.pid}-`));
  try {
    await work(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function saveAndSwitchOff(machine: RunningMachine, file: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
    await save(machine, file);
  } finally {
    await machine.qemu.kill();
  }
}

/** The shape's machine after its boot, with the images of the tests and nothing of the product. */
async function bootedMachine({ shape, image }: MachineParts): Promise<SavedMachine> {
  const archives = await imageArchives();
  const build = async (folder: string): Promise<void> => {
    const { disk, state } = savedIn(folder);
    process.stderr.write(`test/vm: booting a machine of the shape ${shape.name}, to be saved\n`);
    await createOverlay(disk, image.disk, 'raw');
    await inDirectory(async (directory) => {
      const machine = await bootMachine({ shape, image, disk, directory });
      await saveAndSwitchOff(machine, state, () => prepare(machine, archives));
    });
  };
  const inputs = [
    execFileSync('qemu-system-x86_64', ['--version'], { encoding: 'utf8' }),
    ...qemuArguments({ shape, image, disk: 'disk', directory: 'directory' }),
    guestContainerdConfig('systemd'),
    IMPORT_IMAGES,
    ...archives.map((archive) => createHash('sha256').update(archive).digest('hex')),
  ];
  return savedIn(await fromCache({ name: `vm-booted-${shape.name}`, inputs, build }));
}

/** The booted machine after the set-up, with the product. */
async function setUpMachine(parts: MachineParts, setUp: SetUp): Promise<SavedMachine> {
  const { shape, product } = parts;
  const booted = await bootedMachine(parts);
  const build = async (folder: string): Promise<void> => {
    const { disk, state } = savedIn(folder);
    process.stderr.write(`test/vm: setting a machine of the shape ${shape.name} up (${setUp.name}), to be saved\n`);
    await inDirectory(async (directory) => {
      const machine = await resumeBooted({ ...parts, directory }, disk);
      await saveAndSwitchOff(machine, state, () => setUp.run(machine));
    });
  };
  const inputs = [basename(booted.folder), product, ...setUp.inputs];
  const folder = await fromCache({ name: `vm-${setUp.name}-${shape.name}`, inputs, build });
  return { ...savedIn(folder), product };
}

/** Goes on from what `find` gives; what cannot be used is made again, once. */
async function resumeFrom(
  { shape, image, directory }: MachineParts,
  disk: string,
  find: () => Promise<SavedMachine>,
): Promise<RunningMachine> {
  const resume = async ({ disk: base, state, product }: SavedMachine): Promise<RunningMachine> => {
    await createOverlay(disk, base, 'qcow2');
    return await resumeMachine({ shape, image, directory, disk, state, product });
  };
  const saved = await find();
  try {
    return await resume(saved);
  } catch (error) {
    process.stderr.write(`test/vm: a saved machine cannot be used and is made again: ${describeError(error)}\n`);
    await rm(saved.folder, { recursive: true, force: true });
    return await resume(await find());
  }
}

async function resumeBooted(parts: MachineParts, disk: string): Promise<RunningMachine> {
  const machine = await resumeFrom(parts, disk, () => bootedMachine(parts));
  try {
    await plugProduct(machine.qemu.monitor, parts.product);
    await runIn(machine, `systemctl start opt-holdfast.mount && test -d ${PRODUCT_DIRECTORY}/dist`);
    return machine;
  } catch (error) {
    await machine.qemu.kill();
    throw error;
  }
}

/**
 * A running machine with the product's disk, from the cache, where what it lacks is made.
 * @param disk - made here; what the machine writes
 * @throws HoldfastError as {@link bootMachine} and the set-up
 */
export async function resumeSaved(parts: MachineParts, disk: string, setUp?: SetUp): Promise<RunningMachine> {
  if (setUp === undefined) return await resumeBooted(parts, disk);
  return await resumeFrom(parts, disk, () => setUpMachine(parts, setUp));
}
