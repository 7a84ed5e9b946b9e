// The host's interfaces as far as rules about addresses go: which host end speaks with which addresses. Each step takes a
// while, can be made to fail, and is remembered.
import { setImmediate } from 'node:timers/promises';
import { AddressInUseError, type LinkPlan, type PodLinks } from '../../agent/host/network/pod-links.ts';
import { HoldfastError } from '../../lib/errors.ts';

export type LinkStep = 'attach' | 'resume' | 'announce' | 'quiesce' | 'remove' | 'check' | 'list';

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
  /** Somebody outside of this test's interfaces answers for the address from now on. */
  use(address: string, mac?: string): void;
  /** What neighbours were told, such as `hf0123456789abc 10.0.0.5`, in its order; three times is once here. */
  readonly announcements: readonly string[];
}

export function fakePodLinks(): FakePodLinks {
  const calls: string[] = [];
  const clashes: string[] = [];
  const ends = new Map<string, readonly string[]>();
  const others = new Set<string>();
  const used = new Map<string, string>();
  const announcements: string[] = [];
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
  const probe = ({ addresses, dataPlane }: LinkPlan): void => {
    if (dataPlane.mode === 'routed') return;
    const spoken = new Map(
      [...ends].flatMap(([, each]) => each.map((address) => [address, '02:00:00:00:00:98'] as const)),
    );
    for (const { address } of addresses) {
      const mac = used.get(address) ?? spoken.get(address);
      if (mac !== undefined) throw new AddressInUseError(address, mac, `on the bridge ${dataPlane.bridge}`);
    }
  };
  return {
    calls,
    ends,
    clashes,
    announcements,
    use: (address, mac = '02:00:00:00:00:99') => void used.set(address, mac),
    once: (step, before) => void planned.set(step, [...(planned.get(step) ?? []), before]),
    appear: (hostName, addresses) => void ends.set(hostName, addresses),
    vanish: (hostName) => void ends.delete(hostName),
    leave: (hostName, owner = 'ours') => {
      ends.set(hostName, []);
      if (owner === 'another') others.add(hostName);
    },
    attach: async (_netns, plan, signal) => {
      if (plan.probe === true && plan.dataPlane.mode === 'routed') {
        throw new HoldfastError('INVALID_REQUEST', 'in routed mode there is no link to ask');
      }
      await begin('attach', plan.hostName, signal);
      if (ends.has(plan.hostName)) {
        throw new HoldfastError('PRECONDITION', `the host has an interface ${plan.hostName} already`);
      }
      if (plan.probe === true) probe(plan);
      speak(plan);
      return { hostName: plan.hostName, hostMac: '02:00:00:00:00:01', mac: plan.mac, mtu: 1500 };
    },
    resume: async (plan, signal) => {
      await begin('resume', plan.hostName, signal);
      if (!ends.has(plan.hostName))
        throw new HoldfastError('NOT_FOUND', `there is no pair of interfaces ${plan.hostName}`);
      speak(plan);
    },
    announce: async (_netns, plan, signal) => {
      await begin('announce', plan.hostName, signal);
      if (plan.dataPlane.mode === 'routed') return;
      const speaking = ends.get(plan.hostName) ?? [];
      announcements.push(...speaking.map((address) => `${plan.hostName} ${address}`));
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
