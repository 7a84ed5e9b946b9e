// What can be seen in the machine without believing the agent: where the kernel lets processes run, and on which memory
// node their pages are.
import { setTimeout as delay } from 'node:timers/promises';
import type { Test } from 'tap';
import { pollUntil } from '../../../agent/cli/quickstart/poll.ts';
import { type Confinement, findDoubleUse } from '../../integration/lifecycle/facts.ts';
import { PATIENCE_MS, type VmNode } from './node.ts';

/** Between two looks, each of which costs the machine something. */
const LOOK_MS = 500;

/** Where the kernel lets the container's first process run. */
export async function confinementOf({ machine, direct }: VmNode, id: string): Promise<Confinement> {
  const text = await machine.run(`cat /proc/${await direct.processId(id)}/status`);
  const field = (name: string): string => new RegExp(`^${name}:\\s*(\\S*)$`, 'm').exec(text)?.[1] ?? '';
  return { cpus: field('Cpus_allowed_list'), mems: field('Mems_allowed_list') };
}

/** Below /sys/fs/cgroup. */
export async function cgroupOf({ machine, direct }: VmNode, id: string): Promise<string> {
  const text = await machine.run(`cat /proc/${await direct.processId(id)}/cgroup`);
  return /^0::\/(.*)$/m.exec(text)?.[1] ?? '';
}

/**
 * Pages by memory node, of the mappings of a numa_maps file (proc(5)) that are no file's: pages of a file, of its private
 * mappings too, are where they were first read.
 */
export function anonymousPages(numaMaps: string): ReadonlyMap<number, number> {
  const pages = new Map<number, number>();
  for (const line of numaMaps.split('\n').filter((each) => / anon=\d/.test(each) && !each.includes(' file='))) {
    for (const [, node, count] of line.matchAll(/ N(\d+)=(\d+)/g)) {
      pages.set(Number(node), (pages.get(Number(node)) ?? 0) + Number(count));
    }
  }
  return pages;
}

/** Changes of writable layers that the agent has begun and not finished, as its metrics tell. */
export async function unfinishedChanges({ machine }: VmNode): Promise<number> {
  const metrics = await machine.run('busybox wget -q -O - http://127.0.0.1:9571/metrics');
  const value = /^holdfast_reuse_unfinished_changes(?:\{.*\})? (\S+)$/m.exec(metrics)?.[1];
  if (value === undefined) throw new Error('the agent has no metric of unfinished changes');
  return Number(value);
}

/** Of all processes of the container. */
export async function pagesByNode(node: VmNode, id: string): Promise<ReadonlyMap<number, number>> {
  const cgroup = await cgroupOf(node, id);
  const maps = `for pid in $(cat /sys/fs/cgroup/${cgroup}/cgroup.procs); do cat /proc/$pid/numa_maps; done`;
  return anonymousPages(await node.machine.run(maps));
}

/** Waits until what is read is as expected, and shows the difference when it never is. */
export async function settles(t: Test, what: string, expected: unknown, read: () => Promise<unknown>): Promise<void> {
  let found: unknown;
  const wanted = JSON.stringify(expected);
  const same = async (): Promise<true | undefined> => {
    found = await read();
    return JSON.stringify(found) === wanted ? true : await delay(LOOK_MS, undefined);
  };
  await pollUntil(what, PATIENCE_MS, same).catch((error: unknown) => t.comment(String(error)));
  t.strictSame(found, expected, what);
}

/** As the kubelet: whatever fails is tried again, for a while. */
export async function retrying<Result>(what: string, work: () => Promise<Result>): Promise<Result> {
  const attempt = async (): Promise<{ readonly result: Result }> => {
    try {
      return { result: await work() };
    } catch (error) {
      await delay(LOOK_MS);
      throw error;
    }
  };
  return (await pollUntil(what, PATIENCE_MS, attempt)).result;
}

/** Neighbours are moved in the background when nobody waits for it: what differs for good is a fault. */
export async function assertNoDoubleUse(t: Test, node: VmNode): Promise<void> {
  await settles(t, 'no CPU is used twice', [], () => findDoubleUse(node, (id) => confinementOf(node, id)));
}
