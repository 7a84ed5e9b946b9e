// A machine that runs: QEMU, the agent in the machine, and the ways in. It lasts until the machine is switched off;
// machine.ts makes one that survives that.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { z } from 'zod';
import { pollUntil } from '../../../agent/cli/quickstart/poll.ts';
import { HoldfastError } from '../../../lib/errors.ts';
import { type GuestAgent, openGuestAgent } from './guest-agent.ts';
import { UNPACK_PORT, UNPACKED } from './guest-files.ts';
import { forwardedPorts, type Qemu, type QemuOptions, startQemu } from './qemu.ts';

/** A boot takes 25 s on two idle cores. */
const BOOT_TIMEOUT_MS = 8 * 60_000;
const RESTORE_TIMEOUT_MS = 60_000;
const COMMAND_TIMEOUT_MS = 3 * 60_000;

export interface RunningMachine {
  readonly qemu: Qemu;
  readonly agent: GuestAgent;
  /** Of this host, by the machine's. */
  readonly ports: ReadonlyMap<number, number>;
}

/**
 * A shell command in the machine.
 * @returns standard output
 * @throws HoldfastError HOST_FAILURE with what the command said when its exit code is not 0
 */
export async function runIn(machine: RunningMachine, command: string, timeoutMs = COMMAND_TIMEOUT_MS): Promise<string> {
  const { exitCode, stdout, stderr } = await machine.agent.run(command, timeoutMs);
  if (exitCode === 0) return stdout;
  throw new HoldfastError('HOST_FAILURE', `"${command}" ended with ${exitCode} in the machine: ${stderr}${stdout}`);
}

/** Unpacks what `tar` packs with these arguments; paths are relative to the machine's /. */
export async function unpackInto({ ports }: RunningMachine, tarArguments: readonly string[]): Promise<void> {
  const socket = connect({ port: ports.get(UNPACK_PORT) ?? 0, host: '127.0.0.1', allowHalfOpen: true });
  const tar = spawn('tar', ['--create', '--owner=0', '--group=0', ...tarArguments], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const packed = once(tar, 'close');
  tar.stdout.pipe(socket);
  const answer = (await buffer(socket)).toString().trim();
  const [code]: unknown[] = await packed;
  if (code !== 0 || answer !== UNPACKED) {
    throw new HoldfastError('HOST_FAILURE', `files could not be copied into the machine (tar: ${String(code)})`);
  }
}

/** Replaces files of the machine, by their absolute paths; folders on the way are made. */
export async function writeInto(machine: RunningMachine, files: Readonly<Record<string, string>>): Promise<void> {
  const scratch = await mkdtemp(join(tmpdir(), 'holdfast-vm-files-'));
  try {
    for (const [path, content] of Object.entries(files)) {
      await mkdir(dirname(join(scratch, path)), { recursive: true });
      await writeFile(join(scratch, path), content);
    }
    await unpackInto(machine, [`--directory=${scratch}`, ...Object.keys(files).map((path) => path.slice(1))]);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** Until everything that starts at boot has started; what failed there is for tests to find. */
const WAIT_FOR_BOOT = 'systemctl is-system-running --wait || systemctl --failed --no-legend';

const setClock = (): string => `date --utc --set=@${Date.now() / 1000}`;

const runState = z.object({ status: z.string() });

/** A machine is saved while it stands still, and stands still when its state has been read. */
async function continueFromState({ monitor }: Qemu, signal: AbortSignal): Promise<void> {
  const isRead = async (): Promise<true | undefined> =>
    runState.parse(await monitor.execute('query-status')).status === 'inmigrate' ? undefined : true;
  await pollUntil('the state of the machine to be read', RESTORE_TIMEOUT_MS, isRead, signal);
  await monitor.execute('cont');
}

/** Ends with the machine running and booted to the end, or with no QEMU at all. */
async function start(options: QemuOptions, begin: (machine: RunningMachine) => Promise<void>): Promise<RunningMachine> {
  const qemu = await startQemu(options);
  const away = new AbortController();
  void qemu.ended.then(() => away.abort());
  try {
    const timeoutMs = options.state === undefined ? BOOT_TIMEOUT_MS : RESTORE_TIMEOUT_MS;
    if (options.state !== undefined) await continueFromState(qemu, away.signal);
    const agent = await openGuestAgent(qemu.agentPath, timeoutMs, away.signal);
    const machine = { qemu, agent, ports: await forwardedPorts(qemu.monitor) };
    await begin(machine);
    return machine;
  } catch (cause) {
    const isOff = away.signal.aborted;
    await qemu.kill();
    if (!isOff) throw cause;
    throw new HoldfastError('UNAVAILABLE', `the machine went off at its start: ${await qemu.lastWords()}`, { cause });
  }
}

/** The emulation's fault, not the machine's: see QUOTA_UNIT in guest-files.ts. The kernel patches itself at boot, too. */
const EMULATION_FAULT = /Oops: int3/;
const MOST_BOOTS = 4;

/** Switches the machine on; once more where the emulation let a processor run into a patch of the kernel's code. */
export async function bootMachine(options: Omit<QemuOptions, 'state'>): Promise<RunningMachine> {
  for (let boot = 1; ; boot += 1) {
    const before = (await consoleOf(options)).length;
    try {
      return await start(options, async (machine) => {
        await runIn(machine, WAIT_FOR_BOOT, BOOT_TIMEOUT_MS);
      });
    } catch (error) {
      const isAtFault = EMULATION_FAULT.test((await consoleOf(options)).slice(before));
      if (!isAtFault || boot === MOST_BOOTS) throw error;
      process.stderr.write('test/vm: the emulation let the kernel fail at boot ("Oops: int3"); booting once more\n');
    }
  }
}

async function consoleOf({ directory }: Pick<QemuOptions, 'directory'>): Promise<string> {
  const path = join(directory, 'console.log');
  return existsSync(path) ? await readFile(path, 'latin1') : '';
}

/**
 * Goes on from a saved state, with the clock set to the time that it is now.
 * @throws HoldfastError when the state cannot be read, or what came of it does not answer
 */
export async function resumeMachine(options: QemuOptions & { readonly state: string }): Promise<RunningMachine> {
  return await start(options, async (machine) => {
    await runIn(machine, setClock());
  });
}
