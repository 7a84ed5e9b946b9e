// A node for the tests of this folder: private containerd, agent and cri-shim as real processes, a kubelet in front,
// and the means to kill each of them at a chosen moment. Everything goes at the end of the test, also when it fails.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Test } from 'tap';
import type { PodDescription } from '../../../agent/cli/quickstart/pod-requests.ts';
import { pollUntil } from '../../../agent/cli/quickstart/poll.ts';
import { type PrivateHost, startPrivateHost } from '../../../agent/cli/quickstart/private-host.ts';
import { FAILPOINT_VARIABLE } from '../../../lib/failpoint.ts';

export const NEEDS_ROOT = process.geteuid?.() === 0 ? false : 'containers need root';
export const MANY_CPUS = availableParallelism() >= 2;
/** For tests in which a pod owns a CPU: one CPU must be left for the others. */
export const NEEDS_CPUS = NEEDS_ROOT || (MANY_CPUS ? false : 'a pod can own a CPU only where there are two or more');

/** Bounded waits for what other programs do; far above what it takes, for busy machines. */
export const PATIENCE_MS = 30_000;
const LOG_TAIL = 12_000;

export interface TestNode extends PrivateHost {
  /** The agent dies when it comes to the point; from now until {@link TestNode.disarm}. */
  readonly arm: (failpoint: string) => Promise<void>;
  readonly disarm: () => Promise<void>;
  /** Ends the agent without notice and starts it again; resolves when it serves. */
  readonly restartAgent: (meanwhile?: () => Promise<void>) => Promise<void>;
}

export interface NodeOptions {
  readonly pods?: readonly PodDescription[];
  /** Merged over the configuration of {@link startPrivateHost}, by top-level key. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** The path of the network namespace that is the node's. Default: this process's. */
  readonly networkNamespace?: string;
}

/** containerd says a lot; what went wrong is in its warnings. */
async function tailOf(path: string): Promise<string> {
  const text = await readFile(path, 'utf8').catch((error: unknown) => `cannot be read: ${String(error)}`);
  return text.replaceAll(/^time=\S+ level=info .*\n/gm, '').slice(-LOG_TAIL);
}

async function printLogs({ containerd: { directory } }: PrivateHost): Promise<void> {
  for (const name of ['agent.log', 'cri-shim.log', 'containerd.log']) {
    process.stderr.write(`---- ${name} ----\n${await tailOf(join(directory, name))}\n`);
  }
}

/**
 * Starts a node. Unless the configuration says otherwise the agent reconciles every second, nothing but CRI speaks of
 * pods, and a pod's holdings end as soon as its last sandbox is gone.
 */
export async function startNode(t: Test, { config, pods, networkNamespace }: NodeOptions = {}): Promise<TestNode> {
  const scratch = await mkdtemp(join(tmpdir(), 'holdfast-lifecycle-'));
  t.teardown(() => rm(scratch, { recursive: true, force: true }));
  const failpointFile = join(scratch, 'failpoint');
  const host = await startPrivateHost({
    ...(pods && { pods }),
    ...(networkNamespace && { networkNamespace }),
    agentEnv: { [FAILPOINT_VARIABLE]: failpointFile },
    config: {
      log: { level: 'debug' },
      schedules: { reconcile: '* * * * * *' },
      holdings: { gracePeriod: '0s' },
      ...(pods === undefined ? { podSource: { staticManifests: 'off' } } : {}),
      ...config,
    },
  });
  t.teardown(async () => {
    if (!t.passing()) await printLogs(host);
    await host.stop();
  });
  const disarm = (): Promise<void> => rm(failpointFile, { force: true });
  return {
    ...host,
    arm: (failpoint) => writeFile(failpointFile, failpoint),
    disarm,
    restartAgent: async (meanwhile) => {
      await host.agent.kill('SIGKILL');
      await disarm();
      await meanwhile?.();
      await host.agent.start();
    },
  };
}

/** Between two looks at the node, which cost all of its programs something. */
const LOOK_MS = 100;

/** Asks until the condition holds; fails with what is missing. */
export async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  await pollUntil(what, PATIENCE_MS, async () => ((await holds()) ? true : await delay(LOOK_MS, undefined)));
}

/** Waits until what is read is as expected, and shows the difference when it never is. */
export async function settles(t: Test, what: string, expected: unknown, read: () => Promise<unknown>): Promise<void> {
  let found: unknown;
  const wanted = JSON.stringify(expected);
  const same = async (): Promise<boolean> => {
    found = await read();
    return JSON.stringify(found) === wanted;
  };
  await until(what, same).catch((error: unknown) => t.comment(String(error)));
  t.strictSame(found, expected, what);
}

const RETRY_MS = 100;

/** As the kubelet: whatever fails is tried again, for a while. */
export async function retrying<Result>(what: string, work: () => Promise<Result>): Promise<Result> {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (Date.now() >= deadline) throw new Error(`${what} still fails after ${PATIENCE_MS} ms`, { cause: error });
      await delay(RETRY_MS);
    }
  }
}
