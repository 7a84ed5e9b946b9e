// The messages between kube-scheduler and its extenders (k8s.io/kube-scheduler/extender/v1): Go's own field names, which
// its decoder reads in any case; so do we. Pure.
import { z } from 'zod';
import { HoldfastError } from '../../lib/errors.ts';
import type { FilterAnswer } from '../scheduling/scheduling.ts';

export interface ExtenderArgs {
  readonly pod: unknown;
  readonly nodeNames: readonly string[];
  /** The scheduler sent whole nodes (nodeCacheCapable: false) and wants them back; the list as it came. */
  readonly nodeList:
    | { readonly fields: Readonly<Record<string, unknown>>; readonly items: readonly unknown[] }
    | undefined;
}

/** Kubernetes supports 5,000 nodes; more than some multiple of it is a mistake. */
const MOST_NODES = 50_000;

const names = z.array(z.string().max(253)).max(MOST_NODES);
const itemName = z.object({ metadata: z.object({ name: z.string().min(1).max(253) }) });
const nodeList = z.looseObject({ items: z.array(z.unknown()).max(MOST_NODES).nullish() });

function fieldOf(message: Readonly<Record<string, unknown>>, name: string): unknown {
  if (Object.hasOwn(message, name)) return message[name];
  const lower = name.toLowerCase();
  return Object.entries(message).find(([key]) => key.toLowerCase() === lower)?.[1];
}

function bad(why: string): HoldfastError {
  return new HoldfastError('INVALID_REQUEST', `not the arguments of a scheduler's extender: ${why}`);
}

/** @throws HoldfastError INVALID_REQUEST */
export function readArgs(text: string): ExtenderArgs {
  let message: unknown;
  try {
    message = JSON.parse(text);
  } catch (cause) {
    throw new HoldfastError('INVALID_REQUEST', 'the body is not JSON', { cause });
  }
  if (typeof message !== 'object' || message === null || Array.isArray(message)) throw bad('it is no object');
  const fields = message as Readonly<Record<string, unknown>>;
  const pod = fieldOf(fields, 'Pod');
  if (pod === undefined || pod === null) throw bad('there is no Pod');
  const given = fieldOf(fields, 'NodeNames');
  if (given !== undefined && given !== null) {
    const parsed = names.safeParse(given);
    if (!parsed.success) throw bad('NodeNames is no list of names');
    return { pod, nodeNames: parsed.data, nodeList: undefined };
  }
  const whole = nodeList.safeParse(fieldOf(fields, 'Nodes'));
  if (!whole.success) throw bad('there are neither NodeNames nor Nodes');
  const { items, ...rest } = whole.data;
  const nodeNames = (items ?? []).map((item) => {
    const parsed = itemName.safeParse(item);
    if (!parsed.success) throw bad('one of the Nodes has no name');
    return parsed.data.metadata.name;
  });
  return { pod, nodeNames, nodeList: { fields: rest, items: items ?? [] } };
}

/**
 * ExtenderFilterResult. Nothing is called unresolvable: a node may have room once pods are gone, also those that are
 * evicted for its totals.
 */
export function filterResult({ nodeList: list, nodeNames }: ExtenderArgs, { passed, failed }: FilterAnswer): string {
  const rest = `"FailedNodes":${textOf(failed)},"Error":""}`;
  if (list === undefined) return `{"Nodes":null,"NodeNames":${JSON.stringify(passed)},${rest}`;
  const kept = new Set(passed);
  const items = list.items.filter((_, index) => kept.has(nodeNames[index] ?? ''));
  return `{"Nodes":${JSON.stringify({ ...list.fields, items })},"NodeNames":null,${rest}`;
}

/** As JSON. Thousands of nodes fail for a few reasons, and each reason is escaped once: that is most of the work. */
function textOf(failed: ReadonlyMap<string, string>): string {
  const reasons = new Map<string, string>();
  let text = '';
  for (const [node, reason] of failed) {
    let written = reasons.get(reason);
    if (written === undefined) {
      written = JSON.stringify(reason);
      reasons.set(reason, written);
    }
    text += `${text === '' ? '' : ','}${JSON.stringify(node)}:${written}`;
  }
  return `{${text}}`;
}

/** HostPriorityList. */
export function hostPriorities(nodes: readonly string[], scores: readonly number[]): string {
  return JSON.stringify(nodes.map((Host, index) => ({ Host, Score: scores[index] ?? 0 })));
}
