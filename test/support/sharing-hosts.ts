// Several hosts whose addresses are on record in one store that can go away, with leases that are lost and had again: all in
// this process, with interfaces that only remember.
import { setImmediate } from 'node:timers/promises';
import { pino } from 'pino';
import { Announcements } from '../../agent/network/announcements.ts';
import { attachmentLocks } from '../../agent/network/attachment-locks.ts';
import type { Attachments } from '../../agent/network/attachments.ts';
import type { AddRequest, Attached, DataPlane } from '../../agent/network/cni/request.ts';
import { Custody } from '../../agent/network/custody.ts';
import type { HostSession, SessionState } from '../../agent/network/host-session.ts';
import type { LeaseStore } from '../../agent/network/lease-store.ts';
import { LocalAttachments } from '../../agent/network/local-attachments.ts';
import { MovableInterfaces } from '../../agent/network/movable-interfaces.ts';
import { OtherHosts } from '../../agent/network/other-hosts.ts';
import type { Pool } from '../../agent/network/pool.ts';
import { hostKey } from '../../agent/network/records.ts';
import { MemoryStore } from '../../agent/state/memory-store.ts';
import { HoldfastError } from '../../lib/errors.ts';
import { type FakePodLinks, fakePodLinks } from './fake-pod-links.ts';
import { testAttachments } from './test-attachments.ts';
import { sandboxOf, type TestLeases, testLeases } from './test-leases.ts';

const SIGNAL = new AbortController().signal;
const BRIDGE: DataPlane = { mode: 'bridge', bridge: 'br', hairpin: false };

/** What can happen between a host and the store. */
export type Line = 'there' | 'away' | 'away after the next change';

export interface SharingHost {
  readonly name: string;
  readonly links: FakePodLinks;
  readonly leases: TestLeases;
  attachments(): Attachments;
  custody(): Custody;
  line: Line;
  /** Its own clock says that the lease is over. Resolves when what could be taken over is down. */
  lose(): Promise<void>;
  /** The store has removed its lease. */
  expire(): Promise<void>;
  /** It has a lease, a new one if the former one was removed. Resolves when it has looked at what it has. */
  regain(): Promise<void>;
  /** Another agent on the same host; it has no lease before {@link SharingHost.regain}. */
  restart(): Promise<void>;
  /** @returns the addresses */
  add(containerId: string, pod?: string, annotations?: Readonly<Record<string, string>>): Promise<readonly string[]>;
  del(containerId: string): Promise<void>;
  speaking(): readonly string[];
}

interface FakeSession extends HostSession {
  set(isValid: boolean): void;
  /** The former lease was removed. */
  begin(): void;
}

function fakeSession(): FakeSession {
  let isValid = false;
  let told: SessionState = 'lost';
  let leases = 0;
  const listeners = new Set<(state: SessionState) => void>();
  return {
    get identity() {
      return `lease ${leases}`;
    },
    begin: () => {
      leases += 1;
    },
    isValid: () => isValid,
    validForMs: () => (isValid ? 1000 : 0),
    onChange: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    set: (next) => {
      isValid = next;
      const state = next ? 'held' : 'lost';
      if (state === told) return;
      told = state;
      for (const listener of listeners) listener(state);
    },
    release: async () => undefined,
    close: async () => undefined,
  };
}

const addressesOf = ({ addresses }: Attached): readonly string[] =>
  addresses.map(({ address }) => address.split('/')[0] ?? '');

/** @param shared - of all hosts */
export function sharingHost(name: string, shared: LeaseStore, pool: Pool): SharingHost {
  const links = fakePodLinks();
  const disk = new MemoryStore();
  const key = hostKey(name);
  const away = new HoldfastError('UNAVAILABLE', 'the store is away');
  const session = { now: fakeSession() };
  const reach = (): void => {
    if (host.line === 'away') throw away;
  };
  const store: LeaseStore = {
    read: async (keys, signal) => {
      reach();
      return await shared.read(keys, signal);
    },
    list: async (folder, options, signal) => {
      reach();
      return await shared.list(folder, options, signal);
    },
    commit: async ({ expect, write }, signal) => {
      reach();
      if (!session.now.isValid()) throw new HoldfastError('UNAVAILABLE', 'no lease');
      // The fence: the lease is in the store.
      const own = (await shared.read([key.key], signal)).get(key.key);
      if (own === undefined) throw new HoldfastError('UNAVAILABLE', 'the lease is gone');
      const outcome = await shared.commit({ expect: new Map([...expect, [key.key, own.version]]), write }, signal);
      if (host.line === 'there') return outcome;
      host.line = 'away';
      throw away;
    },
    close: async () => undefined,
  };
  const clock = { now: 1 };
  const leases = testLeases(store, [pool], {
    host: name,
    clock,
    otherHosts: new OtherHosts({ fencingDelay: 1, leaseTtl: 1000, clock: () => performance.now() }),
    keepFor: 1_000_000,
    reserve: { cap: 3, keepFor: 1_000_000 },
  });
  const startAgent = () => {
    const logger = pino({ level: 'silent' });
    const locked = attachmentLocks();
    const announcements = new Announcements(links, logger);
    const custody = new Custody({
      leases,
      links,
      session: session.now,
      local: new LocalAttachments(disk),
      interfaces: new MovableInterfaces({
        links,
        session: session.now,
        announcements,
        logger,
        onTakenDown: () => undefined,
        monotonic: () => performance.now(),
      }),
      logger,
      locked,
    });
    const attachments = testAttachments({ leases, links, custody, locked, announcements });
    custody.start();
    return { custody, attachments, announcements };
  };
  let agent = startAgent();
  const host: SharingHost = {
    name,
    links,
    leases,
    attachments: () => agent.attachments,
    custody: () => agent.custody,
    line: 'there',
    lose: async () => {
      session.now.set(false);
      await agent.custody.idle();
    },
    expire: async () => {
      await shared.commit({ expect: new Map(), write: new Map([[key.key, undefined]]) }, SIGNAL);
    },
    regain: async () => {
      if (!(await shared.read([key.key], SIGNAL)).has(key.key)) session.now.begin();
      const value = JSON.stringify({ identity: session.now.identity, machine: name });
      await shared.commit({ expect: new Map(), write: new Map([[key.key, value]]) }, SIGNAL);
      session.now.set(true);
      await agent.custody.idle();
    },
    restart: async () => {
      await agent.custody.close();
      await agent.announcements.close();
      await agent.attachments.settled();
      session.now = fakeSession();
      agent = startAgent();
    },
    add: async (containerId, pod = 'db-0', annotations = { 'holdfast.dev/ip': 'keep' }) => {
      const request: AddRequest = {
        command: 'ADD',
        id: sandboxOf(containerId),
        netns: `/run/netns/${containerId}`,
        config: { name: 'pods', dataPlane: BRIDGE },
        pod: { namespace: 'default', name: pod, uid: `uid-${pod}`, annotations },
      };
      return addressesOf(await agent.attachments.add(request, SIGNAL));
    },
    del: async (containerId) => {
      await agent.attachments.del(
        { command: 'DEL', id: sandboxOf(containerId), config: { name: 'pods', dataPlane: BRIDGE } },
        SIGNAL,
      );
      await agent.attachments.settled();
      await setImmediate();
    },
    speaking: () => [...links.ends.values()].flat(),
  };
  return host;
}
