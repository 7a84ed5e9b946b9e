// QEMU as a process: one virtual machine in software emulation. It ends with the program that started it.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError } from '../../../lib/errors.ts';
import { type CommandSocket, openCommandSocket } from './command-socket.ts';
import { GUEST_SOCKETS, UNPACK_PORT } from './guest-files.ts';
import type { MachineImage } from './image.ts';
import { type MachineShape, shapeArguments, shapeKernelArguments } from './shapes.ts';

/**
 * A processor of 2008 with random numbers: every feature more is a driver that probes for it and a module that tests
 * itself. Without cmpxchg16b, whose emulation in QEMU 7.2 returns wrong flags now and then and panics the kernel.
 */
const CPU = 'Nehalem,rdrand=on,cx16=off';

const KERNEL_ARGUMENTS = [
  'console=ttyS0',
  'loglevel=5',
  'net.ifnames=0',
  'mitigations=off',
  // Emulated, the counters of all CPUs are one; the other clocks would leave the emulation at every look at the time.
  'tsc=reliable',
  'clocksource=tsc',
  // Unmapping a part of a huge page makes the emulation forget all pages.
  'transparent_hugepage=never',
  // What else costs an emulated processor much, and has no say in what is tested.
  'numa_balancing=disable',
  'audit=0',
  'apparmor=0',
  'init_on_alloc=0',
  'nowatchdog',
  'preempt=none',
  'panic=-1',
];

const CONNECT_TIMEOUT_MS = 60_000;

export interface QemuOptions {
  readonly shape: MachineShape;
  readonly image: MachineImage;
  /** qcow2; what the machine writes. */
  readonly disk: string;
  /** A second disk, read only; a state was saved with one, or is given none. */
  readonly product?: string | undefined;
  /** For sockets and the console's log. */
  readonly directory: string;
  /** A file with the state of a machine of the same shape, to go on from; else the machine boots. */
  readonly state?: string;
}

export interface Qemu {
  readonly monitor: CommandSocket;
  readonly agentPath: string;
  /** Resolves when the process has ended: the machine was powered off, rebooted, or crashed. */
  readonly ended: Promise<void>;
  /** The end of what the process has said of itself. */
  readonly lastWords: () => Promise<string>;
  /** Ends it at once; what the machine has not written to its disk is lost. */
  readonly kill: () => Promise<void>;
}

/** As a word of the shell that QEMU runs. */
function shellQuote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** The file appears when its last byte is written, which is after QEMU says that it is done. */
export function saveCommand(file: string): string {
  const unfinished = shellQuote(`${file}.unfinished`);
  return `exec:cat > ${unfinished} && mv ${unfinished} ${shellQuote(file)}`;
}

/** Commas separate options; in a value they are doubled. */
function optionValue(text: string): string {
  return text.replaceAll(',', ',,');
}

export function qemuArguments({ shape, image, disk, product, directory, state }: QemuOptions): readonly string[] {
  const path = (name: string): string => optionValue(join(directory, name));
  const ports = [UNPACK_PORT, ...Object.values(GUEST_SOCKETS)];
  const hostForwards = ports.map((port) => `,hostfwd=tcp:127.0.0.1:0-:${port}`).join('');
  const withValues = [
    ['-machine', 'pc'],
    ['-accel', 'tcg,thread=multi'],
    ['-cpu', CPU],
    ['-rtc', 'base=utc,clock=host'],
    ['-display', 'none'],
    ['-kernel', image.kernel],
    ['-initrd', image.initramfs],
    ['-append', [...KERNEL_ARGUMENTS, ...shapeKernelArguments(shape)].join(' ')],
    ['-drive', `if=none,id=disk,format=qcow2,cache=writeback,file=${optionValue(disk)}`],
    ['-device', 'virtio-blk-pci,drive=disk'],
    ['-device', 'virtio-rng-pci'],
    ['-device', 'virtio-serial-pci'],
    ['-chardev', `socket,id=agent,server=on,wait=off,path=${path('agent.sock')}`],
    ['-device', 'virtserialport,chardev=agent,name=org.qemu.guest_agent.0'],
    ['-netdev', `user,id=net,restrict=on${hostForwards}`],
    ['-device', 'virtio-net-pci,netdev=net,romfile='],
    ['-chardev', `file,id=console,append=on,path=${path('console.log')}`],
    ['-serial', 'chardev:console'],
    ['-qmp', `unix:${path('qmp.sock')},server=on,wait=off`],
  ];
  return [
    // A reboot ends QEMU, so that a rebooted machine is a new process as one after a power cut is.
    '-nodefaults',
    '-no-reboot',
    ...withValues.flat(),
    ...shapeArguments(shape),
    ...(product === undefined ? [] : productArguments(product)),
    ...(state === undefined ? [] : ['-incoming', `exec:cat ${shellQuote(state)}`]),
  ];
}

function productArguments(product: string): readonly string[] {
  const drive = `if=none,id=product,format=raw,readonly=on,file=${optionValue(product)}`;
  return ['-drive', drive, '-device', 'virtio-blk-pci,drive=product'];
}

/** Plugs the product's disk into a running machine: one that goes on from a state must have the devices it was saved with. */
export async function plugProduct(monitor: CommandSocket, product: string): Promise<void> {
  const file = { driver: 'file', filename: product };
  await monitor.execute('blockdev-add', { driver: 'raw', 'node-name': 'product', 'read-only': true, file });
  await monitor.execute('device_add', { driver: 'virtio-blk-pci', id: 'product-disk', drive: 'product' });
}

/** The ports of this host that lead to the machine's, by the latter. */
export async function forwardedPorts(monitor: CommandSocket): Promise<ReadonlyMap<number, number>> {
  const answer = await monitor.execute('human-monitor-command', { 'command-line': 'info usernet' });
  // TCP[HOST_FORWARD]  17       127.0.0.1 45678       10.0.2.15  7001     0     0
  const rows = String(answer).matchAll(/HOST_FORWARD\]\s+\d+\s+\S+\s+(\d+)\s+\S+\s+(\d+)/g);
  return new Map([...rows].map(([, host, guest]) => [Number(guest), Number(host)]));
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

/**
 * Starts QEMU and connects to its monitor. The machine runs when this resolves, or reads its state.
 * @throws HoldfastError PRECONDITION when QEMU is not installed, HOST_FAILURE with its last words
 */
export async function startQemu(options: QemuOptions): Promise<Qemu> {
  const logPath = join(options.directory, 'qemu.log');
  const log = await open(logPath, 'a');
  // setpriv: the kernel ends QEMU when this process ends without having done so, whatever the reason.
  const args = ['--pdeathsig', 'KILL', 'qemu-system-x86_64', ...qemuArguments(options)];
  const child = spawn('setpriv', args, {
    stdio: ['ignore', log.fd, log.fd],
    env: { ...process.env, NODE_OPTIONS: '' },
  });
  const ended = once(child, 'close').then(() => log.close());
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL');
    await ended;
  };
  const lastWords = async (): Promise<string> => {
    return (await readFile(logPath, 'utf8')).trim().split('\n').slice(-3).join(' ');
  };
  try {
    const died = ended.then(async (): Promise<never> => {
      throw new HoldfastError('HOST_FAILURE', `QEMU did not start: ${await lastWords()}`);
    });
    const connected = openCommandSocket(join(options.directory, 'qmp.sock'), CONNECT_TIMEOUT_MS);
    died.catch(() => undefined);
    const monitor = await Promise.race([connected, died]);
    await monitor.execute('qmp_capabilities');
    return { monitor, agentPath: join(options.directory, 'agent.sock'), ended, lastWords, kill };
  } catch (error) {
    if (!hasEnded(child)) await kill();
    throw error;
  }
}
