// A containerd of our own: its directories, sockets, cgroups and images are private and vanish with it. Quickstart and
// the integration tests run on it; several can run side by side.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { HoldfastError, isErrno } from '../../../lib/errors.ts';
import { callUnary, connectUnix } from '../../../lib/grpc-client.ts';
import {
  ImageService,
  ImageStatusRequestSchema,
  RuntimeService,
  StatusRequestSchema,
} from '../../../proto/gen/wire/cri/v1/cri_pb.ts';
import { programPath } from './command.ts';
import { containerdConfig, containerdSocket } from './containerd-config.ts';
import { APP_IMAGE, APP_IMAGE_NEXT, importImages, PAUSE_IMAGE } from './images.ts';
import { createInstanceDirectory, destroyInstance, destroyStaleInstances, instanceCgroup } from './instance.ts';
import { pollUntil } from './poll.ts';
import { hasCapability } from './process.ts';
import { commandIn } from './program.ts';

const READY_TIMEOUT_MS = 120_000;
const CALL_TIMEOUT_MS = 2_000;
const CAP_SYS_RESOURCE = 24;

export interface PrivateContainerd {
  /** Mode 0700; everything is below it, and it goes with {@link PrivateContainerd.stop}. Free for use by its owner. */
  readonly directory: string;
  /** Serves CRI and containerd's own API. */
  readonly socketPath: string;
  /** From the root of the cgroup hierarchies; pods made below it are removed by `stop`. */
  readonly cgroupParent: string;
  /** undefined while it is down. */
  readonly pid: () => number | undefined;
  /** Ends containerd alone; containers and their shims go on. */
  readonly kill: (signal: NodeJS.Signals) => Promise<void>;
  /** Starts containerd on the same directories; resolves when it serves CRI. */
  readonly start: (signal?: AbortSignal) => Promise<void>;
  /** `kill` and `start`. */
  readonly restart: (signal: NodeJS.Signals) => Promise<void>;
  /** Removes everything, also after a failure; can be called again. */
  readonly stop: () => Promise<void>;
}

export interface PrivateContainerdOptions {
  readonly signal?: AbortSignal;
  /** Use systemd to make cgroups; needs a running systemd. Default: cgroupfs. */
  readonly systemdCgroup?: boolean;
  /** The path of the network namespace that is the host's. Default: this process's. */
  readonly networkNamespace?: string;
}

async function servesCri(socketPath: string): Promise<true | undefined> {
  const client = connectUnix(socketPath);
  try {
    const request = create(StatusRequestSchema, {});
    const { status } = await callUnary(client, RuntimeService.method.status, request, { timeoutMs: CALL_TIMEOUT_MS });
    return status?.conditions.some(({ type, status: ready }) => type === 'RuntimeReady' && ready) || undefined;
  } finally {
    client.close();
  }
}

/** The CRI takes notice of imported images a moment after they are there. */
async function waitForImages(socketPath: string, signal: AbortSignal): Promise<void> {
  const client = connectUnix(socketPath);
  try {
    for (const image of [PAUSE_IMAGE, APP_IMAGE, APP_IMAGE_NEXT]) {
      const request = create(ImageStatusRequestSchema, { image: { image } });
      const known = async (): Promise<true | undefined> => {
        const response = await callUnary(client, ImageService.method.imageStatus, request, {
          timeoutMs: CALL_TIMEOUT_MS,
        });
        return response.image === undefined ? undefined : true;
      };
      await pollUntil(`containerd to list ${image}`, READY_TIMEOUT_MS, known, signal);
    }
  } finally {
    client.close();
  }
}

async function lastWords(logPath: string): Promise<string> {
  const lines = (await readFile(logPath, 'utf8')).trim().split('\n');
  const telling = lines.filter((line) => /level=(?:error|fatal)|panic|^containerd:/.test(line));
  return (telling.length > 0 ? telling : lines).slice(-3).join(' ');
}

/** Starts the program; resolves when it serves CRI, rejects with its last words when it ends before that. */
async function launch(
  directory: string,
  networkNamespace: string | undefined,
  signal: AbortSignal,
): Promise<ChildProcess> {
  const logPath = join(directory, 'containerd.log');
  const log = await open(logPath, 'a');
  try {
    // Detached: a Ctrl-C in the terminal is for us, and we still need containerd to clean up.
    const command = commandIn(networkNamespace, 'containerd', ['--config', join(directory, 'containerd.toml')]);
    const child = spawn(...command, {
      detached: true,
      stdio: ['ignore', log.fd, log.fd],
      env: { ...process.env, PATH: programPath() },
    });
    let failure: unknown;
    child.once('error', (error) => {
      failure = error;
    });
    const ready = async (): Promise<true | undefined> => {
      if (failure !== undefined || child.exitCode !== null || child.signalCode !== null) return true;
      return servesCri(containerdSocket(directory));
    };
    await pollUntil('the private containerd to serve CRI', READY_TIMEOUT_MS, ready, signal);
    if (isErrno(failure, 'ENOENT')) {
      throw new HoldfastError('PRECONDITION', 'containerd is not installed; scripts/set-up installs it', {
        cause: failure,
      });
    }
    if (failure !== undefined || child.exitCode !== null || child.signalCode !== null) {
      const words = await lastWords(logPath);
      throw new HoldfastError('HOST_FAILURE', `the private containerd did not start: ${words}`, { cause: failure });
    }
    return child;
  } finally {
    await log.close();
  }
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill(signal);
  await ended;
}

/**
 * Starts a private containerd with the images of `images.ts` in it. What killed programs left is removed first.
 * @throws HoldfastError PRECONDITION when something is not installed or we are not root, HOST_FAILURE with containerd's
 *   last words when it does not start; nothing is left behind then
 */
export async function startPrivateContainerd(options: PrivateContainerdOptions = {}): Promise<PrivateContainerd> {
  if (process.geteuid?.() !== 0) {
    throw new HoldfastError('PRECONDITION', 'a private containerd needs root; run this with sudo');
  }
  await destroyStaleInstances();
  const directory = await createInstanceDirectory();
  const socketPath = containerdSocket(directory);
  const neverAborted = new AbortController().signal;
  let child: ChildProcess | undefined;
  const start = async (signal: AbortSignal = neverAborted): Promise<void> => {
    child = await launch(directory, options.networkNamespace, signal);
  };
  const kill = async (signal: NodeJS.Signals): Promise<void> => {
    if (child !== undefined) await end(child, signal);
    child = undefined;
  };
  const stop = async (): Promise<void> => {
    await kill('SIGKILL');
    await destroyInstance(directory);
  };
  try {
    const mayLowerOomScore = await hasCapability(CAP_SYS_RESOURCE);
    const systemdCgroup = options.systemdCgroup ?? false;
    await writeFile(
      join(directory, 'containerd.toml'),
      containerdConfig({ directory, mayLowerOomScore, systemdCgroup }),
    );
    await start(options.signal);
    await importImages(socketPath, directory, options.signal ?? neverAborted);
    await waitForImages(socketPath, options.signal ?? neverAborted);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    directory,
    socketPath,
    cgroupParent: instanceCgroup(directory),
    pid: () => child?.pid,
    kill,
    start,
    restart: async (signal) => {
      await kill(signal);
      await start();
    },
    stop,
  };
}
