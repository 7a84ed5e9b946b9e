// The life of a pod under an agent that is killed at one named point again and again, with a kubelet that tries again
// and a service manager that starts the agent again. The points come from the sources, so that none is forgotten.
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';
import type { PodDescription } from '../../../agent/cli/quickstart/pod-requests.ts';
import { assertNoDoubleUse, type Confinement, confinementOf, remainsOf } from './facts.ts';
import { retrying, settles, startNode, type TestNode, until } from './harness.ts';
import {
  containersOf,
  crash,
  dataOf,
  ensureRunning,
  ensureSandbox,
  KEEPS_ALL,
  leaveNote,
  neighbour,
  somePod,
} from './pods.ts';

const AGENT = fileURLToPath(new URL('../../../agent', import.meta.url));

/** Every failpoint that the sources below a folder of agent/ pass. */
export async function failpointsBelow(folder: string): Promise<readonly string[]> {
  const root = join(AGENT, folder);
  const points = new Set<string>();
  for (const name of await readdir(root, { recursive: true })) {
    if (!name.endsWith('.ts')) continue;
    const text = await readFile(join(root, name), 'utf8');
    for (const [, point] of text.matchAll(/reach\('([^']+)'\)/g)) if (point !== undefined) points.add(point);
  }
  return [...points].toSorted();
}

/** The points of reuse are told apart only so that no test file takes too long. */
export const isMove = (point: string): boolean => point.startsWith('reuse.move.');

/** Starts the agent again whenever it dies, as systemd would, with the failpoint disarmed. */
class Supervisor {
  readonly #node: TestNode;
  #deaths = 0;
  #stopped = false;

  constructor(t: Test, node: TestNode) {
    this.#node = node;
    void this.#run();
    t.teardown(() => {
      this.#stopped = true;
    });
  }

  get deaths(): number {
    return this.#deaths;
  }

  async #run(): Promise<void> {
    for (;;) {
      await this.#node.agent.ended();
      if (this.#stopped) return;
      this.#deaths += 1;
      await this.#node.disarm();
      // The point may be one of the start itself. A start that fails for good shows as calls that fail for good.
      await this.#node.agent.start().catch(() => undefined);
    }
  }
}

/** A point that every start passes tells nothing new after some of them. */
const ENOUGH_DEATHS = 3;

/** A default container that is created and not started: its place must follow the pool all the same. */
async function createWaiting({ kubelet }: TestNode): Promise<{ readonly pod: PodDescription; readonly id: string }> {
  const pod = neighbour();
  return { pod, id: await kubelet.createContainer(await kubelet.runPod(pod), 'app') };
}

/** A life for each of the points, on one node. */
export async function liveThroughAll(t: Test, points: readonly string[]): Promise<void> {
  t.not(points.length, 0, `points: ${points.join(' ')}`);
  const node = await startNode(t);
  await node.kubelet.makePod(neighbour());
  const supervisor = new Supervisor(t, node);
  for (const point of points) await t.test(point, (t) => liveWithDeaths(t, node, supervisor, point));
}

/** One life of a pod; in each of its phases the agent dies where it first comes to the point. */
async function liveWithDeaths(t: Test, node: TestNode, supervisor: Supervisor, point: string): Promise<void> {
  const { kubelet } = node;
  const before = await retrying('looking', () => remainsOf(node));
  const deathsBefore = supervisor.deaths;
  const pod = somePod(KEEPS_ALL);
  const waiting = await createWaiting(node);
  let history = '';
  let confinement: Confinement | undefined;

  const phase = async <Result>(what: string, work: () => Promise<Result>, again = false): Promise<Result> => {
    const deaths = supervisor.deaths;
    if (!again || deaths - deathsBefore < ENOUGH_DEATHS) await node.arm(point);
    const result = await retrying(`${what} with ${point}`, work);
    t.comment(`${what}: ${supervisor.deaths - deaths} deaths`);
    return result;
  };
  const runs = async (what: string, lost: 'again' | 'next'): Promise<string> => {
    const start = async (): Promise<string> => ensureRunning(kubelet, await ensureSandbox(kubelet, pod), lost);
    const id = await phase(what, start, true);
    history = `${history} started`.trim();
    if (confinement === undefined) await retrying('the note', () => leaveNote(kubelet, id));
    t.equal(await dataOf(kubelet, id), `${history} noted`, `${what}: the data is there`);
    confinement ??= await confinementOf(node, id);
    t.strictSame(await confinementOf(node, id), confinement, `${what}: the CPUs and the memory node are the same`);
    return id;
  };

  await phase('the sandbox', () => ensureSandbox(kubelet, pod));
  const first = await runs('the first start', 'again');
  await crash(kubelet, first, until);
  const second = await runs('a restart whose lost creation the kubelet has not seen', 'again');
  await crash(kubelet, second, until);
  const third = await runs('a restart whose lost creation the kubelet has seen', 'next');
  await crash(kubelet, third, until);
  await phase('the removal', async () => {
    for (const { id } of await containersOf(kubelet, pod.uid)) await kubelet.removeContainer(id);
  });
  const last = await runs('a start from the kept layer', 'next');
  await phase('the start of what was waiting', async () => {
    if ((await kubelet.containerStatus(waiting.id))?.startedAt === 0n) await kubelet.startContainer(waiting.id);
  });
  await node.disarm();
  await until('the agent to be there', async () => (await kubelet.listContainers()).length > 0);
  await retrying('the comparison', () => assertNoDoubleUse(t, node));
  t.strictSame(await confinementOf(node, last), confinement, 'after all deaths the container is where it was');
  await phase('the deletion', async () => {
    await kubelet.deletePod(pod.uid);
    await kubelet.deletePod(waiting.pod.uid);
  });
  await settles(t, 'nothing is left', before, () => retrying('looking', () => remainsOf(node)));
  await node.disarm();
  t.ok(
    supervisor.deaths > deathsBefore,
    `the agent came to ${point} and died ${supervisor.deaths - deathsBefore} times`,
  );
}
