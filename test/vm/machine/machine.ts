// A virtual machine for a test: it is there when this resolves, and gone when the test is over.
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { describeError, HoldfastError } from '../../../lib/errors.ts';
import type { CommandResult } from './guest-agent.ts';
import { GUEST_SOCKETS, type GuestSocket } from './guest-files.ts';
import { machineImage } from './image.ts';
import { productDisk } from './product.ts';
import { openRelay, type Relay } from './relay.ts';
import { bootMachine, type RunningMachine, runIn, unpackInto, writeInto } from './running.ts';
import type { MachineShape } from './shapes.ts';
import { resumeSaved, type SetUp } from './snapshot.ts';

const PREFIX = 'holdfast-vm-';
const COMMAND_TIMEOUT_MS = 3 * 60_000;
const REBOOT_TIMEOUT_MS = 3 * 60_000;
const LOG_TAIL = 16_000;

/** Needed by every test of this folder; false when they can run. */
export const NEEDS_ROOT = process.geteuid?.() === 0 ? false : 'the image of virtual machines is built as root';

export interface Machine {
  /**
   * A shell command in the machine, to its end.
   * @returns its standard output
   * @throws HoldfastError HOST_FAILURE with what it said when its exit code is not 0; DEADLINE
   */
  readonly run: (command: string, timeoutMs?: number) => Promise<string>;
  /** As {@link run}, whatever the exit code. */
  readonly attempt: (command: string, timeoutMs?: number) => Promise<CommandResult>;
  /** Copies a file or folder of this host; folders on the way are made. */
  readonly copyIn: (from: string, to: string) => Promise<void>;
  /** Replaces one file of the machine. */
  readonly writeFile: (path: string, content: string) => Promise<void>;
  /** A unix socket of this host that leads to the machine's, also after a reboot. */
  readonly socket: (path: GuestSocket) => string;
  /** Shuts down in order and boots; resolves when everything that starts at boot has started. */
  readonly reboot: () => Promise<void>;
  /** Takes the power away, and gives it back: what was not written to the disk is lost. */
  readonly powerCut: () => Promise<void>;
  /** Takes the power away for good; also done at the end of the test. */
  readonly stop: () => Promise<void>;
}

/** What programs that were killed left behind. */
async function removeStaleDirectories(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    const pid = /^holdfast-vm-(\d+)-/.exec(name)?.[1];
    if (pid === undefined) continue;
    try {
      process.kill(Number(pid), 0);
    } catch {
      await rm(join(tmpdir(), name), { recursive: true, force: true });
    }
  }
}

async function printLogs(directory: string, running: RunningMachine | undefined): Promise<void> {
  const journal = 'journalctl --boot --no-pager --output=short-precise --lines=150 -u "holdfast*" -u containerd';
  const told = await running?.agent.run(journal, 20_000).catch((error: unknown) => ({ stdout: describeError(error) }));
  const console = await readFile(join(directory, 'console.log'), 'utf8').catch(describeError);
  process.stderr.write(`---- journal ----\n${(told?.stdout ?? 'the machine is off').slice(-LOG_TAIL)}\n`);
  process.stderr.write(`---- console ----\n${console.slice(-LOG_TAIL / 4)}\n`);
}

/**
 * Starts a machine that has booted, with the build under test at `/opt/holdfast`; nothing of it is installed.
 * Image and booted machine come from the cache, and are made where it has none.
 * @param setUp - what was done to it after the boot, also from the cache
 */
export async function startMachine(t: Test, shape: MachineShape, setUp?: SetUp): Promise<Machine> {
  await removeStaleDirectories();
  const [image, product] = [await machineImage(), await productDisk()];
  const directory = await mkdtemp(join(tmpdir(), `${PREFIX}${process.pid}-`));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const disk = join(directory, 'disk.qcow2');
  let running: RunningMachine | undefined;
  const relays = new Map<string, Relay>();
  const stop = async (): Promise<void> => {
    running?.agent.close();
    await running?.qemu.kill();
    running = undefined;
  };
  t.teardown(async () => {
    if (!t.passing()) await printLogs(directory, running);
    for (const relay of relays.values()) await relay.close();
    await stop();
  });
  const current = (): RunningMachine => {
    if (running === undefined) throw new HoldfastError('UNAVAILABLE', 'the machine is switched off');
    return running;
  };
  for (const [path, port] of Object.entries(GUEST_SOCKETS)) {
    const relayPath = join(directory, path.split('/').slice(-1).join());
    relays.set(path, await openRelay(relayPath, () => running?.ports.get(port) ?? 0));
  }
  running = await resumeSaved({ shape, image, directory, product }, disk, setUp);
  const boot = async (): Promise<void> => {
    running = await bootMachine({ shape, image, disk, directory, product });
  };
  const run = (command: string, timeoutMs?: number): Promise<string> => runIn(current(), command, timeoutMs);
  const copyIn = async (from: string, to: string): Promise<void> => {
    const target = to.replace(/^\//, '');
    await unpackInto(current(), [`--directory=${from}`, `--transform=s,^\\./*,${target}/,`, '.']);
  };
  return {
    run,
    attempt: (command, timeoutMs = COMMAND_TIMEOUT_MS) => current().agent.run(command, timeoutMs),
    copyIn,
    writeFile: (path, content) => writeInto(current(), { [path]: content }),
    socket: (path) => relays.get(path)?.path ?? path,
    reboot: async () => {
      const { qemu, agent } = current();
      await agent.run('systemctl reboot', REBOOT_TIMEOUT_MS).catch(() => undefined);
      const late = setTimeout(() => void qemu.kill(), REBOOT_TIMEOUT_MS);
      await qemu.ended;
      clearTimeout(late);
      agent.close();
      await boot();
    },
    powerCut: async () => {
      await stop();
      await boot();
    },
    stop,
  };
}
