// Collects on a schedule what nobody takes back: attachments of sandboxes that are gone, interfaces that belong to no
// attachment, and addresses whose time is over.
import type { Logger } from 'pino';
import { describeError } from '../../lib/errors.ts';
import type { NamespaceUse } from '../host/network/namespace-users.ts';
import type { PodLinks } from '../host/network/pod-links.ts';
import { sandboxId } from '../model/ids.ts';
import type { ContainerRuntime } from '../runtime/runtime.ts';
import type { Attachments } from './attachments.ts';
import { attemptAll } from './attempt-all.ts';
import { expire } from './expire.ts';
import { findLeaks, inQuestion, isAbandoned, type Presence, Suspects } from './leaks.ts';
import type { LeaseContext } from './lease-context.ts';
import { type ListedAttachment, listAttachments } from './list-attachments.ts';
import { HOST_PREFIX, hostNameOf, isHostName } from './plan-link.ts';
import { quarantine } from './quarantine.ts';
import { isSameAttachment } from './reuse.ts';

export interface CollectorParts {
  readonly leases: LeaseContext;
  readonly links: PodLinks;
  readonly attachments: Attachments;
  /** Sandboxes that the host itself knows, whatever the store says. */
  readonly held: () => readonly ListedAttachment[];
  readonly runtime: Pick<ContainerRuntime, 'listSandboxes' | 'sandboxStatus'>;
  readonly lookAtNamespaces: (paths: readonly string[]) => Promise<NamespaceUse>;
  readonly logger: Logger;
  readonly onCollected: (what: 'attachment' | 'interface') => void;
  /** Milliseconds between the first look at something abandoned and the one that proves it. */
  readonly graceMs: number;
  /** Milliseconds on a clock that is never set. */
  readonly monotonic: () => number;
}

/** How long an address stays out of use after it was last seen on an interface without a record. */
const QUARANTINE_MS = 60 * 60_000;

/** At the last look. */
export interface Seen {
  readonly attachments: number;
  /** Of those, the ones whose sandbox the runtime does not know. */
  readonly questioned: number;
}

export class Collector {
  readonly #parts: CollectorParts;
  readonly #suspects: Suspects;
  readonly #suspectLinks: Suspects;
  #seen: Seen | undefined;

  constructor(parts: CollectorParts) {
    this.#parts = parts;
    this.#suspects = new Suspects(parts.graceMs);
    this.#suspectLinks = new Suspects(parts.graceMs);
  }

  /** undefined before the first look. */
  get seen(): Seen | undefined {
    return this.#seen;
  }

  /**
   * Each kind by itself: a runtime that does not answer must not keep addresses whose time is over from their pools.
   * @throws HoldfastError UNAVAILABLE with what could not be collected; it is tried at the next look
   */
  async collect(signal: AbortSignal): Promise<void> {
    await attemptAll(
      [() => this.#expire(signal), () => this.#endLeaks(signal), () => this.lookAtStrays(signal)],
      'collected',
      signal,
    );
  }

  async #expire(signal: AbortSignal): Promise<void> {
    while (await expire(this.#parts.leases, signal)) signal.throwIfAborted();
  }

  async #endLeaks(signal: AbortSignal): Promise<void> {
    const { runtime, lookAtNamespaces, monotonic } = this.#parts;
    // Before the sandboxes: what is attached after this look is not judged by it.
    const attachments = await this.#known(signal);
    const sandboxes = await runtime.listSandboxes(signal);
    const sandboxIds = new Set(sandboxes.map(({ id }) => String(id)));
    const questioned = inQuestion(attachments, sandboxIds);
    this.#seen = { attachments: attachments.length, questioned: questioned.length };
    const paths = questioned.map(({ record }) => record.netns);
    const presence: Presence = { sandboxIds, ...(await lookAtNamespaces([...new Set(paths)])) };
    for (const leak of findLeaks(this.#suspects, attachments, presence, monotonic())) await this.#end(leak, signal);
  }

  async #end({ id, record }: ListedAttachment, signal: AbortSignal): Promise<void> {
    const { runtime, attachments, logger, onCollected } = this.#parts;
    // Once more, and only about this one: what the looks showed may have changed since.
    const isLeaked = async (): Promise<boolean> => {
      const there = await this.#known(signal, id.containerId);
      // Taken off meanwhile; what has been joined since is another attachment.
      if (!there.some((each) => isSameAttachment(each.id, id) && each.record.since === record.since)) return false;
      if ((await runtime.sandboxStatus(sandboxId(id.containerId), signal)) !== undefined) return false;
      const now: Presence = { sandboxIds: new Set(), ...(await this.#parts.lookAtNamespaces([record.netns])) };
      return isAbandoned({ id, record }, now);
    };
    try {
      if (!(await attachments.detachIf(isLeaked, id, signal))) return;
    } catch (error) {
      signal.throwIfAborted();
      logger.warn(
        { ...id, error: describeError(error) },
        'a leaked address could not be collected; trying again later',
      );
      return;
    }
    onCollected('attachment');
    const addresses = record.addresses.map(({ address }) => address);
    logger.warn({ ...id, pod: record.owner.pod, addresses }, 'the addresses of a sandbox that is gone were collected');
  }

  /** Also what is not on record any more, such as what an administrator gave up while this host was away. */
  async #known(signal: AbortSignal, containerId?: string): Promise<readonly ListedAttachment[]> {
    const { leases, held } = this.#parts;
    const onRecord = await listAttachments(leases, signal, containerId);
    const names = new Set(onRecord.map(({ id }) => hostNameOf(id)));
    const others = held().filter(({ id }) => containerId === undefined || id.containerId === containerId);
    return [...onRecord, ...others.filter(({ id }) => !names.has(hostNameOf(id)))];
  }

  /**
   * Interfaces without a record: one of ours that is silent is removed in time; one that speaks is a pod's whose record was lost,
   * and goes on, and nobody else gets its address.
   */
  async lookAtStrays(signal: AbortSignal): Promise<void> {
    const { leases, links, logger, onCollected, monotonic } = this.#parts;
    // Before the records: an interface that is made after this look is not judged by it.
    const present = (await links.list(HOST_PREFIX, signal)).filter(({ name }) => isHostName(name));
    const known = new Set((await this.#known(signal)).map(({ id }) => hostNameOf(id)));
    const stray = present.filter(({ name }) => !known.has(name));
    for (const { name, addresses } of stray.filter(({ isUp }) => isUp)) {
      for (const address of addresses) {
        const inUse = { address, why: `interface ${name} has it`, forMs: QUARANTINE_MS };
        if (!(await quarantine(leases, inUse, signal))) continue;
        logger.warn({ interface: name, address }, 'a pod has an address without a record; nobody else gets it');
      }
    }
    const silent = stray.filter(({ isUp, isOwn }) => isOwn && !isUp).map(({ name }) => name);
    for (const name of this.#suspectLinks.look(silent, monotonic())) {
      try {
        await links.remove(name, signal);
      } catch (error) {
        signal.throwIfAborted();
        logger.warn({ interface: name, error: describeError(error) }, 'a stray interface could not be removed');
        continue;
      }
      onCollected('interface');
      logger.warn({ interface: name }, 'an interface that belongs to no sandbox was removed');
    }
  }
}
