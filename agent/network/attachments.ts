// Joins sandboxes to the network and takes them off again: addresses first, then interfaces; silence first, then
// addresses. What a runtime asks through CNI is answered here.
import type { Logger } from 'pino';
import { describeError, HoldfastError } from '../../lib/errors.ts';
import { KeyedMutex } from '../../lib/keyed-mutex.ts';
import type { PodLinks } from '../host/network/pod-links.ts';
import { acquire, type Grant } from './acquire.ts';
import type {
  AddRequest,
  Attached,
  AttachmentId,
  CheckRequest,
  CniHandler,
  DelRequest,
  GcRequest,
  StatusRequest,
} from './cni/request.ts';
import { hasRoom } from './free-places.ts';
import type { LeaseContext } from './lease-context.ts';
import { findAttachment, listAttachments } from './list-attachments.ts';
import type { Owners } from './owners.ts';
import { describeGrants, hostNameOf, planLink, planRouting } from './plan-link.ts';
import { familiesOf, type Pool } from './pool.ts';
import type { Owner } from './records.ts';
import { release } from './release.ts';

/** What has to be undone or finished is, whether or not the caller still waits. */
const CLEAN_UP_MS = 30_000;
/** A pod's address may have been on so many sandboxes of this host that nobody took off. */
const MOST_SILENCED = 8;

interface Granted {
  readonly grants: readonly [Grant, ...Grant[]];
  /** Whether it was this call that they were granted to. */
  readonly isNew: boolean;
}

export interface AttachmentsParts {
  readonly leases: LeaseContext;
  readonly links: PodLinks;
  readonly owners: Owners;
  /** The pool of networks that name none. */
  readonly defaultPool: string | undefined;
  readonly logger: Logger;
  /** For crash tests. */
  readonly reach: (point: string) => Promise<void>;
}

export class Attachments implements CniHandler {
  readonly #parts: AttachmentsParts;
  readonly #locks = new KeyedMutex();
  /** Of pods that keep their addresses; taken before those above. */
  readonly #podLocks = new KeyedMutex();
  readonly #removing = new Set<Promise<void>>();
  #isOpen = false;

  constructor(parts: AttachmentsParts) {
    this.#parts = parts;
  }

  /** Addresses that pods have without a record are known from now on: others may be granted. */
  open(): void {
    this.#isOpen = true;
  }

  async add(request: AddRequest, signal: AbortSignal): Promise<Attached> {
    if (!this.#isOpen) {
      throw new HoldfastError(
        'UNAVAILABLE',
        'the agent has not yet seen which addresses are in use; it is tried again',
      );
    }
    const { id, config, pod } = request;
    const pool = this.#poolOf(config.pool);
    const owner = this.#parts.owners.ownerOf(pod);
    const join = (): Promise<Attached> =>
      this.#locked(
        id,
        async () => {
          const granted = await this.#acquire(request, pool, owner, signal);
          const attached = await this.#join(request, pool, granted, signal);
          if (signal.aborted && granted.isNew) await this.#takeOff(id);
          // Nobody waits for the answer any more: nobody would know that there is something to take off.
          signal.throwIfAborted();
          return attached;
        },
        signal,
      );
    if (owner.ip !== 'keep' || owner.pod === undefined) return await join();
    // The pod's earlier sandbox may be about to get its interface: it is silenced when it has one, not before.
    const { namespace, name } = owner.pod;
    return await this.#podLocks.run(`${namespace}/${name}/${id.network}/${id.ifname}`, join, signal);
  }

  async del({ id }: DelRequest, signal: AbortSignal): Promise<void> {
    await this.detach(id, signal);
  }

  /** Takes the sandbox off the network, whatever of it there is. */
  async detach(id: AttachmentId, signal: AbortSignal): Promise<void> {
    await this.detachIf(async () => true, id, signal);
  }

  /**
   * As {@link detach}, if that is still right when nothing else happens to the sandbox any more.
   * @returns whether it was
   */
  async detachIf(isRight: () => Promise<boolean>, id: AttachmentId, signal: AbortSignal): Promise<boolean> {
    return await this.#locked(
      id,
      async () => {
        if (!(await isRight())) return false;
        await this.#takeOff(id);
        return true;
      },
      signal,
    );
  }

  async check({ id, netns, config, expected, expectedMac }: CheckRequest, signal: AbortSignal): Promise<void> {
    const { leases, links } = this.#parts;
    const record = await findAttachment(leases, id, signal);
    if (record === undefined) {
      throw new HoldfastError('PRECONDITION', `sandbox ${id.containerId} has no address in network ${id.network}`);
    }
    const { grants, pool } = record;
    const routing = planRouting(config, pool.routes);
    const { addresses } = describeGrants(record.mode, grants, routing);
    const missing = expected.filter((each) => !addresses.some(({ address }) => address === each));
    const problems = missing.map((each) => `${each} is not the sandbox's`);
    const [first, ...others] = grants;
    if (first === undefined) problems.push('it has no address any more');
    else if (config.dataPlane.mode !== 'ipam') {
      const plan = planLink(id, config.dataPlane, [first, ...others], routing);
      const changed = expectedMac === undefined ? plan : { ...plan, mac: expectedMac };
      problems.push(...(await links.check(netns, changed, signal)));
    }
    if (problems.length > 0) {
      throw new HoldfastError(
        'PRECONDITION',
        `sandbox ${id.containerId}, interface ${id.ifname}: ${problems.join('; ')}`,
      );
    }
  }

  async gc({ config, valid }: GcRequest, signal: AbortSignal): Promise<void> {
    const failures: string[] = [];
    const known = new Set(valid.map(({ containerId, ifname }) => `${containerId}/${ifname}`));
    for (const { id } of await listAttachments(this.#parts.leases, signal)) {
      if (id.network !== config.name || known.has(`${id.containerId}/${id.ifname}`)) continue;
      try {
        await this.detach(id, signal);
      } catch (error) {
        signal.throwIfAborted();
        failures.push(`${id.containerId}: ${describeError(error)}`);
      }
    }
    if (failures.length > 0) {
      throw new HoldfastError('HOST_FAILURE', `not all could be collected: ${failures.slice(0, 5).join('; ')}`);
    }
  }

  async status({ config }: StatusRequest, signal: AbortSignal): Promise<void> {
    const pool = this.#poolOf(config.pool);
    for (const family of familiesOf(pool)) {
      if (await hasRoom(this.#parts.leases, pool, family, signal)) continue;
      throw new HoldfastError('NO_ROOM', `pool ${pool.name} has no free IPv${family} address; see holdfast ip pools`);
    }
  }

  /** Resolves when no interface is being removed any more. */
  async settled(): Promise<void> {
    await Promise.all(this.#removing);
  }

  async #acquire({ id, netns, config }: AddRequest, pool: Pool, owner: Owner, signal: AbortSignal): Promise<Granted> {
    const { leases, links } = this.#parts;
    const silenced: AttachmentId[] = [];
    for (;;) {
      const { mode } = config.dataPlane;
      const acquired = await acquire(leases, { id, pool, owner, mode, netns, silenced }, signal);
      if (acquired.kind === 'granted') {
        const [first, ...others] = acquired.grants;
        if (first === undefined) throw new HoldfastError('INVALID_CONFIG', `pool ${pool.name} has no subnet`);
        return { grants: [first, ...others], isNew: acquired.isNew };
      }
      const { holder } = acquired;
      const held = await findAttachment(leases, holder, signal);
      if (held?.mode === 'ipam' || silenced.length >= MOST_SILENCED) {
        throw new HoldfastError(
          'UNAVAILABLE',
          `the pod's address is still on its earlier sandbox ${holder.containerId}, whose interface is another plugin's; it is free when that sandbox is taken off the network`,
        );
      }
      await links.quiesce(hostNameOf(holder), signal);
      silenced.push(holder);
    }
  }

  async #join(
    { id, netns, config }: AddRequest,
    pool: Pool,
    { grants, isNew }: Granted,
    signal: AbortSignal,
  ): Promise<Attached> {
    const { dataPlane } = config;
    await this.#parts.reach('network.add.granted');
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
      return { interfaces: [], ...answer };
    }
    try {
      const link = await this.#parts.links.attach(netns, planLink(id, dataPlane, grants, routing), signal);
      const { mtu } = link;
      await this.#parts.reach('network.add.joined');
      return {
        interfaces: [
          { name: link.hostName, mac: link.hostMac, mtu },
          { name: id.ifname, mac: link.mac, mtu, sandbox: netns },
        ],
        ...answer,
      };
    } catch (error) {
      // What an earlier ADD was granted is on an interface that speaks: it is given back by DEL alone.
      if (!isNew) throw error;
      await this.#takeOff(id).catch((undoError: unknown) =>
        this.#parts.logger.warn(
          { containerId: id.containerId, error: describeError(undoError) },
          'addresses of a sandbox that could not be joined are given back later',
        ),
      );
      throw error;
    }
  }

  /** Once it is begun, a caller that gives up must not leave the address on an interface that speaks. */
  async #takeOff(id: AttachmentId): Promise<void> {
    const { leases, links, reach } = this.#parts;
    const cleanUp = AbortSignal.timeout(CLEAN_UP_MS);
    const hostName = hostNameOf(id);
    await links.quiesce(hostName, cleanUp);
    await reach('network.del.silenced');
    await release(leases, id, cleanUp);
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

  #poolOf(name = this.#parts.defaultPool): Pool {
    const { pools } = this.#parts.leases;
    const pool = name === undefined ? undefined : pools.get(name);
    if (pool !== undefined) return pool;
    const known = [...pools.keys()].join(', ');
    throw new HoldfastError(
      'INVALID_CONFIG',
      name === undefined
        ? `the network names no pool, and the configuration of Holdfast has no network.defaultPool; its pools: ${known}`
        : `there is no pool "${name}" in the configuration of Holdfast; its pools: ${known}`,
    );
  }

  #locked<Result>(
    { containerId, ifname }: AttachmentId,
    work: () => Promise<Result>,
    signal: AbortSignal,
  ): Promise<Result> {
    return this.#locks.run(`${containerId}/${ifname}`, work, signal);
  }
}
