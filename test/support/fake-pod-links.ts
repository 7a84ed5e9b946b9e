// The host's interfaces as far as rules about addresses go: which host end speaks with which addresses. Each step takes a
// while, can be made to fail, and is remembered.
import { setImmediate } from 'node:timers/promises';
import type { LinkPlan, PodLinks } from '../../agent/host/network/pod-links.ts';
import { HoldfastError } from '../../lib/errors.ts';

export type LinkStep = 'attach' | 'quiesce' | 'remove' | 'check' | 'list';

export interface FakePodLinks extends PodLinks {
  /** Steps that began, such as `quiesce hf0123456789abc`. */
  readonly calls: readonly string[];
  /** By host end: the addresses that it speaks with. Silenced ends have none; removed ones are absent. */
  readonly ends: ReadonlyMap<string, readonly string[]>;
  /** Addresses that two ends spoke with at a time, ever. */
  readonly clashes: readonly string[];
  /** The next step of that kind waits for it, and fails when it rejects. */
  once(step: LinkStep, before: () => Promise<void>): void;
  /** A host end that is there without anybody having asked for it. */
  leave(hostName: string, owner?: 'ours' | 'another'): void;
  /** There is an interface with these addresses that nobody made in this test. */
  appear(hostName: string, addresses: readonly string[]): void;
  vanish(hostName: string): void;
}

export function fakePodLinks(): FakePodLinks {
  const calls: string[] = [];
  const clashes: string[] = [];
  const ends = new Map<string, readonly string[]>();
  const others = new Set<string>();
  const planned = new Map<LinkStep, (() => Promise<void>)[]>();
  const begin = async (step: LinkStep, what: string, signal: AbortSignal): Promise<void> => {
    calls.push(`${step} ${what}`);
    await setImmediate();
    await planned.get(step)?.shift()?.();
    signal.throwIfAborted();
  };
  const speak = ({ hostName, addresses }: LinkPlan): void => {
    const own = addresses.map(({ address }) => address);
    const others = [...ends].filter(([name]) => name !== hostName).flatMap(([, each]) => each);
    clashes.push(...own.filter((address) => others.includes(address)));
    ends.set(hostName, own);
  };
  return {
    calls,
    ends,
    clashes,
    once: (step, before) => void planned.set(step, [...(planned.get(step) ?? []), before]),
    appear: (hostName, addresses) => void ends.set(hostName, addresses),
    vanish: (hostName) => void ends.delete(hostName),
    leave: (hostName, owner = 'ours') => {
      ends.set(hostName, []);
      if (owner === 'another') others.add(hostName);
    },
    attach: async (_netns, plan, signal) => {
      await begin('attach', plan.hostName, signal);
      if (ends.has(plan.hostName)) {
        throw new HoldfastError('PRECONDITION', `the host has an interface ${plan.hostName} already`);
      }
      speak(plan);
      return { hostName: plan.hostName, hostMac: '02:00:00:00:00:01', mac: plan.mac, mtu: 1500 };
    },
    quiesce: async (hostName, signal) => {
      await begin('quiesce', hostName, signal);
      if (ends.has(hostName)) ends.set(hostName, []);
    },
    remove: async (hostName, signal) => {
      await begin('remove', hostName, signal);
      ends.delete(hostName);
    },
    check: async (_netns, plan, signal) => {
      await begin('check', plan.hostName, signal);
      const speaking = ends.get(plan.hostName) ?? [];
      return plan.addresses.flatMap(({ address }) => (speaking.includes(address) ? [] : [`${address} is missing`]));
    },
    list: async (prefix, signal) => {
      await begin('list', prefix, signal);
      return [...ends]
        .filter(([name]) => name.startsWith(prefix))
        .map(([name, addresses]) => ({ name, isUp: addresses.length > 0, isOwn: !others.has(name), addresses }));
    },
    close: async () => undefined,
  };
}
