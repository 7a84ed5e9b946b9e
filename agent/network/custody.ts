// What this host may speak for among those that share a store: addresses that others could take over are taken down when its
// lease is over, and go up again when the store says that they still are this host's. What happens while the store is away
// is told to it later.
import type { Logger } from 'pino';
import { describeError, HoldfastError } from '../../lib/errors.ts';
import type { LinkPlan, PodLinks } from '../host/network/pod-links.ts';
import type { PodReference } from '../model/pod.ts';
import type { Granted } from './acquire.ts';
import type { Locked } from './attachment-locks.ts';
import { attemptAll } from './attempt-all.ts';
import type { AttachmentId } from './cni/request.ts';
import type { HostSession } from './host-session.ts';
import { type Inheritance, inherit } from './inherit.ts';
import type { LeaseContext } from './lease-context.ts';
import { holdsAll, type ListedAttachment } from './list-attachments.ts';
import type { LocalAttachment, LocalAttachments } from './local-attachments.ts';
import { isMovable, type MovableInterfaces } from './movable-interfaces.ts';
import { hostNameOf } from './plan-link.ts';
import { rebind } from './rebind.ts';
import { reclaim } from './reclaim.ts';
import type { AttachmentRecord, Owner } from './records.ts';
import { release } from './release.ts';
import { isSameAttachment } from './reuse.ts';
import { UnclearOutcome } from './transaction.ts';

/** How long a start waits for the lease before it takes the addresses down: less than the least fencing delay. */
const START_GRACE_MS = 2000;

export interface CustodyParts {
  readonly leases: LeaseContext;
  readonly links: PodLinks;
  readonly session: HostSession;
  readonly local: LocalAttachments;
  readonly logger: Logger;
  readonly interfaces: MovableInterfaces;
  readonly locked: Locked;
}

const isUnavailable = (error: unknown): boolean => error instanceof HoldfastError && error.code === 'UNAVAILABLE';

const sharesAddress = (one: AttachmentRecord, other: AttachmentRecord): boolean =>
  one.pool === other.pool &&
  one.addresses.some(({ address }) => other.addresses.some((each) => each.address === address));

export interface CustodyState {
  readonly hasLease: boolean;
  /** Interfaces that are silent because there is no lease, or because the store has not said yet that there still is a right. */
  readonly down: number;
  /** Changes that the store has not been told. */
  readonly untold: number;
}

export class Custody {
  readonly #parts: CustodyParts;
  readonly #ending = new AbortController();
  #stopListening: () => void = () => {};
  #grace: NodeJS.Timeout | undefined;
  /** Ends the look at what is this host's still. */
  #looking = new AbortController();
  /** Host ends whose addresses were seen as this host's own under its present lease: nobody can have got them since. */
  readonly #sure = new Set<string>();
  readonly #work = new Set<Promise<void>>();

  constructor(parts: CustodyParts) {
    this.#parts = parts;
  }

  /** From now on the interfaces follow the lease. */
  start(): void {
    const { session } = this.#parts;
    this.#stopListening = session.onChange((state) => this.#follow(state));
    if (session.isValid()) this.#follow('held');
    else this.#grace = setTimeout(() => !session.isValid() && this.#follow('lost'), START_GRACE_MS);
  }

  /** The interfaces stay as they are: the pods go on without an agent. */
  async close(): Promise<void> {
    clearTimeout(this.#grace);
    this.#stopListening();
    this.#ending.abort(new HoldfastError('UNAVAILABLE', 'the agent is shutting down'));
    this.#looking.abort(this.#ending.signal.reason);
    await this.idle();
  }

  /** Resolves when all that the last changes of the lease brought about is done. */
  async idle(): Promise<void> {
    while (this.#work.size > 0) await Promise.all(this.#work);
  }

  get state(): CustodyState {
    const { session, interfaces, local } = this.#parts;
    const untold = local.all().filter(({ leaving, from }) => leaving !== undefined || from !== undefined).length;
    return { hasLease: session.isValid(), down: interfaces.down, untold };
  }

  /** The sandboxes that this host knows, without asking the store. */
  held(): readonly ListedAttachment[] {
    return this.#parts.local.all();
  }

  /**
   * Before the interface is made. Durable when it resolves.
   * @param lease - under which the addresses were granted
   */
  async take(
    id: AttachmentId,
    record: AttachmentRecord,
    plan: LinkPlan | undefined,
    lease: string | undefined,
  ): Promise<void> {
    const { local } = this.#parts;
    const from = local.get(id)?.from;
    await local.put({ id, record, ...(plan && { plan }), ...(from && { from }) });
    if (this.#isStill(lease)) this.#sure.add(hostNameOf(id));
    // An address is one sandbox's: whoever had it here before has lost it, even if nobody ever takes that one off.
    for (const other of local.all()) {
      if (isSameAttachment(other.id, id) || !sharesAddress(other.record, record)) continue;
      await local.change(other.id, (there) => ({ ...there, isLost: true }));
    }
  }

  /** The one that this host has now. */
  get lease(): string | undefined {
    return this.#parts.session.identity;
  }

  /**
   * To be asked after the interface was made: the lease may have ended meanwhile, before there was anything to take down.
   * @param lease - under which the address was granted: under a later one others may have taken it over in between
   * @throws HoldfastError UNAVAILABLE when the address may not speak
   */
  requireLease(owner: Owner, lease: string | undefined): void {
    if (!isMovable(owner) || this.#isStill(lease)) return;
    throw new HoldfastError(
      'UNAVAILABLE',
      "this host has lost its lease in etcd, and others may take over the pod's address; it is tried again",
    );
  }

  #isStill(lease: string | undefined): boolean {
    const { session } = this.#parts;
    return session.isValid() && session.identity === lease;
  }

  /**
   * What the pod's earlier sandboxes took over without the store is told to it before anybody asks it for the pod's addresses.
   * @throws HoldfastError UNAVAILABLE
   */
  async settlePod(pod: PodReference, id: AttachmentId, signal: AbortSignal): Promise<void> {
    const former = this.#parts.local.ofPod(pod, id);
    if (former?.from === undefined || isSameAttachment(former.id, id)) return;
    await this.#parts.locked(former.id, () => this.#tell(former.id, signal), signal);
  }

  /** What a pod that is restarted while the store is away had; see {@link inherit}. */
  async inherit(request: Inheritance, signal: AbortSignal): Promise<Granted | undefined> {
    const isSure = (id: AttachmentId): boolean => this.#sure.has(hostNameOf(id));
    const granted = await inherit({ ...this.#parts, isSure }, request, signal);
    if (granted !== undefined) {
      const { containerId } = request.id;
      this.#parts.logger.warn(
        { containerId, pod: request.owner.pod },
        'etcd is away: the pod goes on with what it had',
      );
    }
    return granted;
  }

  /**
   * Gives back what the sandbox has, whose interface is silent; while the store is away that is only noted.
   * @param isMoved - as `release` of release.ts
   */
  async release(id: AttachmentId, signal: AbortSignal, isMoved = false): Promise<void> {
    const { local, logger } = this.#parts;
    // Its pod's next sandbox has them already, and tells the store so.
    if (local.heirOf(id) !== undefined) return;
    try {
      await this.#tellReleased(id, signal, isMoved);
    } catch (error) {
      if (!isUnavailable(error)) throw error;
      // Of what this host does not know the store may know: then it is collected like that of any sandbox that is gone.
      logger.warn({ ...id, error: describeError(error) }, 'the addresses of a sandbox are given back later');
    }
  }

  /**
   * Tells the store what it does not know yet, and looks whether what this host has is still its own, if that is in doubt.
   * @throws HoldfastError UNAVAILABLE for what failed; the rest is done all the same
   */
  async settle(signal: AbortSignal): Promise<void> {
    const { session } = this.#parts;
    const look = async (): Promise<void> => {
      if (!session.isValid()) return;
      // What is seen under one lease says nothing about the next.
      const sameLease = AbortSignal.any([signal, this.#looking.signal]);
      await this.#forAll(async (id) => {
        if (this.#sure.has(hostNameOf(id))) return;
        await this.#lookAt(id, sameLease);
        sameLease.throwIfAborted();
        this.#sure.add(hostNameOf(id));
      }, sameLease);
    };
    await attemptAll([() => this.#forAll((id) => this.#tell(id, signal), signal), look], 'settled', signal);
  }

  async #forAll(work: (id: AttachmentId) => Promise<void>, signal: AbortSignal): Promise<void> {
    const { local, locked } = this.#parts;
    const works = local.all().map(
      ({ id }) =>
        () =>
          locked(id, () => work(id), signal),
    );
    await attemptAll(works, 'settled', signal);
  }

  async #tellReleased(id: AttachmentId, signal: AbortSignal, isMoved = false): Promise<void> {
    const { local, leases, interfaces } = this.#parts;
    const attachment = local.get(id);
    try {
      if (attachment?.from === undefined || (await rebind(leases, attachment, signal)) !== undefined) {
        await release(leases, id, signal, isMoved);
      }
    } catch (error) {
      // Whoever gave up waiting, or failed in another way, may have done so when the change was on its way.
      const isUntold = isUnavailable(error) && !(error instanceof UnclearOutcome) && !signal.aborted;
      const leaving = isUntold && attachment?.leaving !== 'unclear' ? 'untold' : 'unclear';
      await local.change(id, (there) => ({ ...there, leaving }));
      throw error;
    }
    await local.remove(id);
    this.#sure.delete(hostNameOf(id));
    interfaces.forget(id);
  }

  async #tell(id: AttachmentId, signal: AbortSignal): Promise<void> {
    const { local, leases } = this.#parts;
    const attachment = local.get(id);
    if (attachment === undefined) return;
    if (attachment.leaving !== undefined) return await this.#tellReleased(id, signal);
    if (attachment.from === undefined) return;
    const record = await rebind(leases, attachment, signal);
    if (record === undefined) await this.#giveUp(attachment, signal);
    await local.change(id, (there) => {
      const { from: _, ...rest } = there;
      return { ...rest, record: record ?? there.record };
    });
  }

  #follow(state: 'held' | 'lost'): void {
    const { session, interfaces, local, logger } = this.#parts;
    clearTimeout(this.#grace);
    this.#looking.abort(new HoldfastError('UNAVAILABLE', 'the lease of this host has changed'));
    this.#sure.clear();
    if (state === 'lost') {
      this.#inBackground(interfaces.takeDown(local.all(), this.#ending.signal));
      return;
    }
    logger.info({ validForMs: Math.round(session.validForMs()) }, 'this host has its lease in etcd');
    this.#looking = new AbortController();
    const signal = AbortSignal.any([this.#looking.signal, this.#ending.signal]);
    this.#inBackground(
      this.settle(signal).catch((error: unknown) => {
        if (!signal.aborted) logger.warn({ error: describeError(error) }, 'addresses are looked at again later');
      }),
    );
  }

  #inBackground(work: Promise<void>): void {
    this.#work.add(work);
    void work.finally(() => this.#work.delete(work));
  }

  async #lookAt(id: AttachmentId, signal: AbortSignal): Promise<void> {
    const { local, leases } = this.#parts;
    // What the store could not be told may have gone to somebody else meanwhile, as everything else.
    await this.#tell(id, signal);
    const attachment = local.get(id);
    if (attachment === undefined || attachment.isLost === true) return;
    const isOurs =
      (await holdsAll(leases, id, attachment.record, signal)) || (await reclaim(leases, attachment, signal));
    await (isOurs ? this.#parts.interfaces.putUp(attachment, signal) : this.#giveUp(attachment, signal));
  }

  async #giveUp(attachment: LocalAttachment, signal: AbortSignal): Promise<void> {
    const { id, record } = attachment;
    const { interfaces, local, logger } = this.#parts;
    const addresses = record.addresses.map(({ address }) => address);
    await interfaces.silence(attachment, signal);
    await local.change(id, (there) => ({ ...there, isLost: true }));
    logger.error({ ...id, pod: record.owner.pod, addresses }, 'the addresses of a sandbox are not its own any more');
  }
}
