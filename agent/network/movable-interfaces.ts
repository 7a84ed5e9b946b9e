// The interfaces whose addresses others could take over: down while this host has no lease, up when it is known that they are
// still its own.
import type { Logger } from 'pino';
import { describeError, HoldfastError } from '../../lib/errors.ts';
import { KeyedMutex } from '../../lib/keyed-mutex.ts';
import type { PodLinks } from '../host/network/pod-links.ts';
import type { Announcements } from './announcements.ts';
import type { AttachmentId } from './cni/request.ts';
import type { HostSession } from './host-session.ts';
import type { LocalAttachment } from './local-attachments.ts';
import { hostNameOf } from './plan-link.ts';
import type { Owner } from './records.ts';

const RETRY_MS = 500;
const QUIESCE_MS = 10_000;

/** Only the pod's next sandbox, wherever it is, can ask for what this one has. */
export const isMovable = (owner: Owner): boolean => owner.ip === 'keep';

export interface MovableInterfacesParts {
  readonly links: PodLinks;
  readonly session: Pick<HostSession, 'isValid'>;
  readonly announcements: Announcements;
  readonly logger: Logger;
  /** Tells of interfaces that were taken down together, and after how many milliseconds the last was down. */
  readonly onTakenDown: (interfaces: number, ms: number) => void;
  /** Milliseconds on a clock that is never set. */
  readonly monotonic: () => number;
}

export class MovableInterfaces {
  readonly #parts: MovableInterfacesParts;
  /** Host ends that were silenced here. */
  readonly #down = new Set<string>();
  /** Each goes down and up in the order of the lease's changes. */
  readonly #moves = new KeyedMutex();

  constructor(parts: MovableInterfacesParts) {
    this.#parts = parts;
  }

  /** So many are silent. */
  get down(): number {
    return this.#down.size;
  }

  /** Its sandbox is off the network. */
  forget(id: AttachmentId): void {
    this.#down.delete(hostNameOf(id));
  }

  /**
   * Silences all of them that are movable, again and again until each is silent, or there is a lease again.
   * @param ending - gives up
   */
  async takeDown(all: readonly LocalAttachment[], ending: AbortSignal): Promise<void> {
    const { session, logger, onTakenDown, monotonic } = this.#parts;
    const began = monotonic();
    let left = all.filter(({ plan, record }) => plan !== undefined && isMovable(record.owner));
    const { length } = left;
    while (left.length > 0 && !session.isValid() && !ending.aborted) {
      const outcomes = await Promise.all(left.map((attachment) => this.#tryToSilence(attachment)));
      left = left.filter((_, index) => outcomes[index] === false);
      if (left.length > 0) await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
    const ms = monotonic() - began;
    onTakenDown(length - left.length, ms);
    const message = 'this host has no lease in etcd: the addresses that others may take over are down';
    logger.warn({ interfaces: length - left.length, ms: Math.round(ms) }, message);
  }

  /** @returns whether it is silent; never throws */
  async #tryToSilence({ id }: LocalAttachment): Promise<boolean> {
    const { links, logger } = this.#parts;
    const hostName = hostNameOf(id);
    try {
      await this.#moves.run(hostName, () => links.quiesce(hostName, AbortSignal.timeout(QUIESCE_MS)));
    } catch (error) {
      logger.error(
        { hostName, error: describeError(error) },
        'an address that others may take over cannot be taken down',
      );
      return false;
    }
    this.#down.add(hostName);
    return true;
  }

  /**
   * Nothing happens to one that is not movable.
   * @throws HoldfastError UNAVAILABLE when the lease has ended; as PodLinks.resume
   */
  async putUp({ id, record, plan }: LocalAttachment, signal: AbortSignal): Promise<void> {
    const { links, session, logger } = this.#parts;
    if (plan === undefined || !isMovable(record.owner)) return;
    const resume = async (): Promise<void> => {
      if (!session.isValid()) throw new HoldfastError('UNAVAILABLE', 'the lease ended before all was up again');
      await links.resume(plan, signal);
    };
    try {
      await this.#moves.run(plan.hostName, resume, signal);
    } catch (error) {
      if (!(error instanceof HoldfastError) || error.code !== 'NOT_FOUND') throw error;
      logger.info({ ...id }, 'the interface of a sandbox is gone; its address is collected when the sandbox is, too');
      return;
    }
    if (this.#down.delete(plan.hostName)) this.#parts.announcements.tell(record.netns, plan);
  }

  /** Whose address is somebody else's. */
  async silence({ plan }: LocalAttachment, signal: AbortSignal): Promise<void> {
    if (plan === undefined) return;
    await this.#parts.links.quiesce(plan.hostName, signal);
    this.#down.add(plan.hostName);
  }
}
