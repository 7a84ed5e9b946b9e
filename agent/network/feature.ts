// The network feature: pods keep their addresses. The lifecycle steps tell whose a sandbox is; the CNI plugin asks for its
// addresses and interfaces; what nobody takes back is collected on the schedule.
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { describeError } from '../../lib/errors.ts';
import type { Failpoint } from '../../lib/failpoint.ts';
import { KeyedMutex } from '../../lib/keyed-mutex.ts';
import type { PodSource } from '../cluster/pod-source.ts';
import type { NamespaceUse } from '../host/network/namespace-users.ts';
import type { PodLinks } from '../host/network/pod-links.ts';
import type { Feature } from '../lifecycle/feature.ts';
import type { ContainerRuntime } from '../runtime/runtime.ts';
import { type AuditLog, createNetworkAdmin, type NetworkAdmin } from './admin.ts';
import { Announcements } from './announcements.ts';
import { attachmentLocks } from './attachment-locks.ts';
import { Attachments } from './attachments.ts';
import { attemptAll } from './attempt-all.ts';
import type { CniHandler } from './cni/request.ts';
import { Collector } from './collect.ts';
import { Custody } from './custody.ts';
import type { LeaseContext, LeaseOptions } from './lease-context.ts';
import type { LeaseStore } from './lease-store.ts';
import { listAttachments } from './list-attachments.ts';
import { countHandover, countTakenDown, createNetworkMetrics } from './metrics.ts';
import { MovableInterfaces } from './movable-interfaces.ts';
import { Owners } from './owners.ts';
import { mayReleaseEarly, type OwnerRules } from './plan-owner.ts';
import type { Pool } from './pool.ts';
import { SandboxInterfaces } from './sandbox-interfaces.ts';
import type { Sharing } from './sharing.ts';
import { statusLines } from './status.ts';

export interface NetworkOptions {
  /** No address is in two of them. */
  readonly pools: readonly Pool[];
  /** The pool of networks that name none. */
  readonly defaultPool: string | undefined;
  readonly leases: LeaseOptions;
  readonly owners: OwnerRules;
  /** Milliseconds that something must have been nobody's before it is collected. */
  readonly collectAfter: number;
}

export interface NetworkParts {
  readonly store: LeaseStore;
  /** undefined: no other host uses the store. */
  readonly sharing: Sharing | undefined;
  /** This host's name among those that share the store. */
  readonly host: string;
  readonly links: PodLinks;
  /** Puts the rules for pods that go out with the host's address in force; tells whether they were not. */
  readonly ensureMasquerade: (signal: AbortSignal) => Promise<boolean>;
  readonly runtime: Pick<ContainerRuntime, 'listSandboxes' | 'sandboxStatus'>;
  readonly lookAtNamespaces: (paths: readonly string[]) => Promise<NamespaceUse>;
  readonly podSource: Pick<PodSource, 'phaseOf'>;
  readonly logger: Logger;
  readonly registry: Registry;
  /** Where changes of hands are noted for people. */
  readonly audit: AuditLog;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Milliseconds on a clock that is never set. */
  readonly monotonic: () => number;
  readonly options: NetworkOptions;
  /** For crash tests. */
  readonly failpoint?: Failpoint;
}

export interface Network extends Feature {
  readonly cni: CniHandler;
  readonly admin: NetworkAdmin;
  /** Resolves when nothing is being removed any more. */
  close(): Promise<void>;
}

/** Builds the feature over its store; nothing is touched before somebody asks or `reconcile` looks. */
export function createNetwork({
  store,
  sharing,
  host,
  now,
  registry,
  audit,
  options,
  failpoint,
  ...parts
}: NetworkParts): Network {
  const { links, ensureMasquerade, runtime, lookAtNamespaces, podSource, logger, monotonic } = parts;
  const metrics = createNetworkMetrics(registry);
  const leases: LeaseContext = {
    store,
    host,
    otherHosts: sharing?.otherHosts,
    turns: new KeyedMutex(),
    pools: new Map(options.pools.map((pool) => [pool.name, pool] as const)),
    options: options.leases,
    now,
    hints: new Map(),
    onHandover: (handover) => {
      countHandover(metrics, handover);
      logger.info({ ...handover }, 'address handed over');
      audit.append({ at: now(), ...handover });
    },
  };
  const owners = new Owners(options.owners);
  const locked = attachmentLocks();
  const announcements = new Announcements(links, logger);
  const custody =
    sharing &&
    new Custody({
      session: sharing.session,
      local: sharing.local,
      leases,
      links,
      interfaces: new MovableInterfaces({
        links,
        session: sharing.session,
        announcements,
        logger,
        monotonic,
        onTakenDown: (interfaces, ms) => countTakenDown(metrics, interfaces, ms),
      }),
      logger,
      locked,
    });
  const attachments = new Attachments({
    leases,
    links,
    owners,
    custody,
    interfaces: new SandboxInterfaces({
      leases,
      links,
      custody,
      announcements,
      logger,
      reach: async (point) => failpoint?.(point),
    }),
    locked,
    defaultPool: options.defaultPool,
  });
  const collector = new Collector({
    leases,
    links,
    attachments,
    held: () => custody?.held() ?? [],
    runtime,
    lookAtNamespaces,
    logger,
    monotonic,
    graceMs: options.collectAfter,
    onCollected: (what) => metrics.collected.inc({ what }),
  });
  let masqueradeProblem: string | undefined;
  const masquerade = async (signal: AbortSignal): Promise<void> => {
    try {
      if (await ensureMasquerade(signal)) logger.info({}, 'rules for masquerading put in force');
      masqueradeProblem = undefined;
    } catch (error) {
      signal.throwIfAborted();
      masqueradeProblem = describeError(error);
      throw error;
    }
  };
  const open = async (signal: AbortSignal): Promise<void> => {
    await collector.lookAtStrays(signal);
    attachments.open();
  };
  return {
    name: 'network',
    sandboxCreating: async ({ pod }) => {
      owners.expect(pod);
      return {};
    },
    containerStopping: async ({ pod, container, signal }) => {
      // The runtime stops containers for many reasons; only when the platform deletes the pod does nobody need the address.
      if (!mayReleaseEarly(pod.annotations) || !['deleting', 'deleted'].includes(podSource.phaseOf(pod))) return;
      try {
        for (const { id, record } of await listAttachments(leases, signal, container.sandboxId)) {
          // Another plugin's interface would go on speaking with the address.
          if (record.owner.early === true && record.mode !== 'ipam') await attachments.detach(id, signal);
        }
      } catch (error) {
        // A stop always passes; DEL gives the address back as of any other pod.
        const fields = { sandbox: container.sandboxId, error: describeError(error) };
        logger.warn(fields, 'the address could not be given back before the containers stop');
      }
    },
    recover: async (signal) => {
      custody?.start();
      // A store that is away does not keep the agent from its other work.
      await open(signal).catch((error: unknown) => {
        if (custody === undefined) throw error;
        logger.warn({ error: describeError(error) }, 'no sandbox can be joined to the network yet; trying again');
      });
      // Pods that are there go on without it, and the next look tries again.
      await masquerade(signal).catch((error: unknown) =>
        logger.warn({ error: describeError(error) }, 'pods cannot go out with the host’s address yet; trying again'),
      );
    },
    reconcile: async (signal) => {
      const look = (): Promise<void> => (attachments.isOpen ? collector.collect(signal) : open(signal));
      await attemptAll([async () => custody?.settle(signal), look, () => masquerade(signal)], 'looked after', signal);
    },
    status: () => statusLines(options.pools.length, collector.seen, masqueradeProblem, custody?.state),
    cni: attachments,
    admin: createNetworkAdmin(leases, options.defaultPool, audit),
    close: async () => {
      await custody?.close();
      await announcements.close();
      await attachments.settled();
    },
  };
}
