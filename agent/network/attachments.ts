// Answers what a runtime asks through CNI: sandboxes are joined to the network, taken off again, looked at and collected.
import { describeError, HoldfastError } from '../../lib/errors.ts';
import { KeyedMutex } from '../../lib/keyed-mutex.ts';
import type { PodLinks } from '../host/network/pod-links.ts';
import type { Locked } from './attachment-locks.ts';
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
import type { Custody } from './custody.ts';
import { hasRoom } from './free-places.ts';
import type { LeaseContext } from './lease-context.ts';
import { findAttachment, listAttachments } from './list-attachments.ts';
import { obtain } from './obtain.ts';
import type { Owners } from './owners.ts';
import { describeGrants, planLink, planRouting } from './plan-link.ts';
import { familiesOf, type Pool } from './pool.ts';
import type { SandboxInterfaces } from './sandbox-interfaces.ts';

export interface AttachmentsParts {
  readonly leases: LeaseContext;
  readonly links: PodLinks;
  readonly owners: Owners;
  /** undefined: no other host could take over anything. */
  readonly custody: Custody | undefined;
  readonly interfaces: SandboxInterfaces;
  readonly locked: Locked;
  /** The pool of networks that name none. */
  readonly defaultPool: string | undefined;
}

export class Attachments implements CniHandler {
  readonly #parts: AttachmentsParts;
  /** Of pods that keep their addresses; taken before those of sandboxes. */
  readonly #podLocks = new KeyedMutex();
  #isOpen = false;

  constructor(parts: AttachmentsParts) {
    this.#parts = parts;
  }

  /** Addresses that pods have without a record are known from now on: others may be granted. */
  open(): void {
    this.#isOpen = true;
  }

  get isOpen(): boolean {
    return this.#isOpen;
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
      this.#parts.locked(
        id,
        async () => {
          const { netns } = request;
          const { mode } = request.config.dataPlane;
          const granted = await obtain(this.#parts, { id, pool, owner, mode, netns }, signal);
          const attached = await this.#parts.interfaces.join(request, pool, granted, signal);
          if (signal.aborted && granted.isNew) await this.#parts.interfaces.takeOff(id);
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
    return await this.#parts.locked(
      id,
      async () => {
        if (!(await isRight())) return false;
        await this.#parts.interfaces.takeOff(id);
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
  settled(): Promise<void> {
    return this.#parts.interfaces.settled();
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
}
