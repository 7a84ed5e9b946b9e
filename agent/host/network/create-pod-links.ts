// PodLinks over netlink: the door of agent/host/network.
import { HoldfastError } from '../../../lib/errors.ts';
import { KeyedMutex } from '../../../lib/keyed-mutex.ts';
import { Slots } from '../netlink/slots.ts';
import { announceLink } from './announce.ts';
import { attachLink } from './attach.ts';
import { checkLink } from './check.ts';
import { openHostNetwork } from './host-network.ts';
import { checkInterfaceName, isInterfaceName } from './interface-name.ts';
import { ipText } from './ip-bytes.ts';
import { addressesOfAlias, OWNER, ownerOfAlias } from './link-alias.ts';
import { decodeLink, listVeths } from './messages/link.ts';
import type { PodLinks } from './pod-links.ts';
import { quiesceLink, removeLink } from './remove.ts';
import { resumeLink } from './resume.ts';
import { listAll } from './steps.ts';
import { wantedOf } from './wanted.ts';

/** Each has the sandbox's namespace and a socket in it open; more at once would only wait for the kernel's lock. */
const SANDBOXES_AT_ONCE = 4;
/** Those that probe wait for time to pass: more at once are done sooner. Each has four files open. */
const PROBES_AT_ONCE = 64;
const MAX_WAITING = 1024;
const ANNOUNCE_PAUSE_MS = 1_000;

export interface PodLinksOptions {
  /** Six hexadecimal digits, of this agent and of no other that shares the host's namespace with it. */
  readonly owner: string;
  /** The path of the namespace that is the host's; absent: the one that this process is in. */
  readonly hostNamespace?: string;
  /** Between one announcement and the next, in milliseconds; absent: a second. */
  readonly announcePauseMs?: number;
}

/**
 * Needs CAP_NET_ADMIN and CAP_SYS_ADMIN. It keeps two sockets open until it is closed.
 * @throws HoldfastError HOST_FAILURE when the kernel gives no sockets; INVALID_REQUEST when the namespace is none
 */
export async function createPodLinks({
  owner,
  hostNamespace,
  announcePauseMs = ANNOUNCE_PAUSE_MS,
}: PodLinksOptions): Promise<PodLinks> {
  if (!OWNER.test(owner)) throw new HoldfastError('BUG', `${JSON.stringify(owner)} is no owner of interfaces`);
  const host = await openHostNetwork(owner, hostNamespace);
  const sandboxes = new Slots('sandboxes to be joined to the network', SANDBOXES_AT_ONCE, MAX_WAITING);
  const probes = new Slots('sandboxes to be joined to the network after a probe', PROBES_AT_ONCE, MAX_WAITING);
  // What is done to one attachment follows each other: a removal never meets half an attachment.
  const links = new KeyedMutex();
  const endOf = (hostName: string): string => checkInterfaceName(hostName, "the host's end");

  return {
    attach: async (netns, plan, signal) => {
      const wanted = wantedOf(plan);
      return await links.run(
        wanted.hostName,
        () => (wanted.isProbed ? probes : sandboxes).run(() => attachLink(host, netns, wanted, signal), signal),
        signal,
      );
    },
    quiesce: (hostName, signal) => links.run(endOf(hostName), () => quiesceLink(host, hostName, signal), signal),
    resume: async (plan, signal) => {
      const wanted = wantedOf(plan);
      await links.run(wanted.hostName, () => resumeLink(host, wanted, signal), signal);
    },
    announce: async (netns, plan, signal) => {
      await announceLink(host, netns, wantedOf(plan), { pauseMs: announcePauseMs, sandboxes }, signal);
    },
    remove: (hostName, signal) =>
      links.run(endOf(hostName), () => removeLink(host.slowSocket, hostName, signal), signal),
    check: async (netns, plan, signal) => {
      const wanted = wantedOf(plan);
      return await sandboxes.run(() => checkLink(host, netns, wanted, signal), signal);
    },
    list: async (prefix, signal) => {
      if (!isInterfaceName(prefix)) {
        throw new HoldfastError(
          'INVALID_REQUEST',
          `${JSON.stringify(prefix)} cannot be the beginning of interface names`,
        );
      }
      const step = { request: listVeths(), failure: "the host's interfaces cannot be listed" };
      const found = (await listAll(host.socket, step, signal)).map(decodeLink);
      return found
        .filter(({ kind, name }) => kind === 'veth' && name.startsWith(prefix))
        .map(({ name, isUp, alias }) => {
          return { name, isUp, isOwn: ownerOfAlias(alias) === owner, addresses: addressesOfAlias(alias).map(ipText) };
        });
    },
    close: () => host.close(),
  };
}
