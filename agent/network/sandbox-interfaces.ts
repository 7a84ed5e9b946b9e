// The interfaces of sandboxes: made with what was granted, and taken off again; addresses first, then interfaces; silence first,
// then addresses.
import type { Logger } from 'pino';
import { describeError, HoldfastError } from '../../lib/errors.ts';
import { AddressInUseError, type Link, type LinkPlan, type PodLinks } from '../host/network/pod-links.ts';
import type { Announcements } from './announcements.ts';
import type { AddRequest, Attached, AttachmentId, NetworkConfig } from './cni/request.ts';
import type { Custody } from './custody.ts';
import type { LeaseContext } from './lease-context.ts';
import type { Obtained } from './obtain.ts';
import { describeGrants, hostNameOf, planLink, planRouting } from './plan-link.ts';
import type { Pool } from './pool.ts';
import { quarantine } from './quarantine.ts';
import { release } from './release.ts';

/** What has to be undone or finished is, whether or not the caller still waits. */
const CLEAN_UP_MS = 30_000;
/** How long an address stays out of use after somebody else answered for it. */
const QUARANTINE_MS = 60 * 60_000;

/** Whether others than this host's pods are on the link: the store knows of those alone. */
const hasNeighbours = ({ dataPlane }: LinkPlan): boolean =>
  dataPlane.mode === 'bridge' && dataPlane.uplink !== undefined;

function explain(error: AddressInUseError, isPods: boolean): HoldfastError {
  const { address, mac, message } = error;
  if (!isPods)
    return new HoldfastError('UNAVAILABLE', `${message}; it is put aside, and the next try gets another one`);
  return new HoldfastError(
    'UNAVAILABLE',
    `a pod on another host (${mac}), which lost its lease or was given up, still answers for ${address}; it is tried again: power that host off if its agent does not come back`,
  );
}

export interface SandboxInterfacesParts {
  readonly leases: LeaseContext;
  readonly links: PodLinks;
  /** undefined: no other host could take over anything. */
  readonly custody: Custody | undefined;
  readonly announcements: Announcements;
  readonly logger: Logger;
  /** For crash tests. */
  readonly reach: (point: string) => Promise<void>;
}

export class SandboxInterfaces {
  readonly #parts: SandboxInterfacesParts;
  /** Being removed, after the answer. */
  readonly #removing = new Set<Promise<void>>();

  constructor(parts: SandboxInterfacesParts) {
    this.#parts = parts;
  }

  /** Resolves when no interface is being removed any more. */
  async settled(): Promise<void> {
    await Promise.all(this.#removing);
  }

  /**
   * Makes the sandbox's interface with the addresses that it was granted, unless that is another plugin's work. What fails is
   * taken back, the addresses as well.
   * @throws HoldfastError UNAVAILABLE when somebody else answers for an address; as PodLinks.attach
   */
  async join(
    { id, netns, config }: AddRequest,
    pool: Pool,
    obtained: Obtained,
    signal: AbortSignal,
  ): Promise<Attached> {
    const { reach, custody } = this.#parts;
    const { dataPlane } = config;
    const { grants, record, isNew, lease } = obtained;
    await reach('network.add.granted');
    const routing = planRouting(config, pool.routes);
    const answer = {
      ...describeGrants(dataPlane.mode, grants, routing),
      ...(config.dns === undefined ? {} : { dns: config.dns }),
    };
    if (dataPlane.mode === 'ipam') {
      // Whoever made the interface would give the addresses back when it fails over the one that is there.
      if (!isNew)
        throw new HoldfastError(
          'PRECONDITION',
          `sandbox ${id.containerId} has addresses for ${id.ifname} already; DEL comes before another ADD`,
        );
      await this.#orTakeOff(id, obtained, undefined, async () => custody?.take(id, record, undefined, lease));
      return { interfaces: [], ...answer };
    }
    const plan = planLink(id, dataPlane, grants, routing);
    const link = await this.#orTakeOff(id, obtained, plan.mac, async () => {
      await custody?.take(id, record, plan, lease);
      const made = await this.#attach(netns, plan, config, obtained, signal);
      await reach('network.add.joined');
      return made;
    });
    const { mtu } = link;
    return {
      interfaces: [
        { name: link.hostName, mac: link.hostMac, mtu },
        { name: id.ifname, mac: link.mac, mtu, sandbox: netns },
      ],
      ...answer,
    };
  }

  async #attach(
    netns: string,
    plan: LinkPlan,
    { probe = hasNeighbours(plan) }: NetworkConfig,
    { record, isChanged, isMoved, lease }: Obtained,
    signal: AbortSignal,
  ): Promise<Link> {
    const { links, custody } = this.#parts;
    const isProbed = probe && isChanged && plan.dataPlane.mode === 'bridge';
    const link = await links.attach(
      netns,
      { ...plan, ...(isProbed && { probe: true }), ...(isMoved && { moved: true }) },
      signal,
    );
    try {
      custody?.requireLease(record.owner, lease);
    } catch (error) {
      // Also when an earlier call was granted the address: it was this one that made the interface.
      await links.quiesce(plan.hostName, AbortSignal.timeout(CLEAN_UP_MS));
      await links.remove(plan.hostName, AbortSignal.timeout(CLEAN_UP_MS));
      throw error;
    }
    if (isMoved || isProbed) this.#parts.announcements.tell(netns, plan);
    return link;
  }

  /**
   * What an earlier ADD was granted is on an interface that speaks: it is given back by DEL alone.
   * @param mac - that every interface with these addresses has: another one that answers is a pod's, on a host that has lost
   *   its lease and does not know yet
   */
  async #orTakeOff<Result>(
    id: AttachmentId,
    { isNew, isMoved, isChanged }: Obtained,
    mac: string | undefined,
    work: () => Promise<Result>,
  ): Promise<Result> {
    try {
      return await work();
    } catch (error) {
      if (!isNew) throw error;
      const inUse = error instanceof AddressInUseError ? error : undefined;
      try {
        await this.takeOff(id, isMoved || isChanged);
        if (inUse !== undefined && inUse.mac !== mac) await this.#putAside(inUse);
      } catch (undoError) {
        this.#parts.logger.warn(
          { containerId: id.containerId, error: describeError(undoError) },
          'addresses of a sandbox that could not be joined are given back later',
        );
      }
      throw inUse === undefined ? error : explain(inUse, inUse.mac === mac);
    }
  }

  /** The next ADD gets another one. */
  async #putAside({ address, mac }: AddressInUseError): Promise<void> {
    const { leases, logger } = this.#parts;
    const why = `${mac} answered for it`;
    const signal = AbortSignal.timeout(CLEAN_UP_MS);
    await quarantine(leases, { address, why, forMs: QUARANTINE_MS, evenIfWaiting: true }, signal);
    logger.error({ address, mac }, 'an address that was to be granted is in use by somebody else; nobody gets it');
  }

  /**
   * Once it is begun, a caller that gives up must not leave the address on an interface that speaks.
   * @param isUnproven - nobody has found out whether somebody else speaks with what it was granted
   */
  async takeOff(id: AttachmentId, isUnproven = false): Promise<void> {
    const { leases, links, custody, reach } = this.#parts;
    const cleanUp = AbortSignal.timeout(CLEAN_UP_MS);
    const hostName = hostNameOf(id);
    await links.quiesce(hostName, cleanUp);
    await reach('network.del.silenced');
    await (custody === undefined ? release(leases, id, cleanUp, isUnproven) : custody.release(id, cleanUp, isUnproven));
    await reach('network.del.released');
    this.#removeLater(hostName);
  }

  #removeLater(hostName: string): void {
    const { links, logger } = this.#parts;
    const removing = links
      .remove(hostName, AbortSignal.timeout(CLEAN_UP_MS))
      .catch((error: unknown) =>
        logger.warn({ hostName, error: describeError(error) }, "an interface that is nobody's is removed later"),
      );
    this.#removing.add(removing);
    void removing.finally(() => this.#removing.delete(removing));
  }
}
