// Where the addresses' records are: in the agent's own store, or in etcd with this host's lease there.
import { describeError, HoldfastError } from '../../lib/errors.ts';
import { readCertificates } from '../api/certificates.ts';
import { EtcdConnection } from '../cluster/etcd/connection.ts';
import { HostLease } from '../cluster/etcd/host-lease.ts';
import { EtcdKeyValues } from '../cluster/etcd/key-values.ts';
import { LeaseApi } from '../cluster/etcd/lease-api.ts';
import type { AgentConfig } from '../config/schema.ts';
import { openBootClock } from '../host/boot-clock.ts';
import type { HostTree } from '../host/host-tree.ts';
import { EmbeddedLeaseStore } from '../network/embedded-lease-store.ts';
import { EtcdLeaseStore } from '../network/etcd-lease-store.ts';
import type { LeaseStore } from '../network/lease-store.ts';
import { LocalAttachments } from '../network/local-attachments.ts';
import { OtherHosts } from '../network/other-hosts.ts';
import { hostKey } from '../network/records.ts';
import type { Sharing } from '../network/sharing.ts';
import type { WiringOptions } from './options.ts';
import type { Outside } from './outside.ts';

type EtcdConfig = Exclude<AgentConfig['network']['store'], 'embedded'>['etcd'];

/** An election takes etcd a second or two. */
const LONGEST_ASK_MS = 5000;
const LONGEST_ATTEMPT_MS = 2000;

export interface OpenedLeases {
  readonly store: LeaseStore;
  /** undefined: no other host has anything to do with the addresses. */
  readonly sharing: Sharing | undefined;
  /** The lease is left to end by itself: an agent that is started again goes on in time. */
  close(): Promise<void>;
}

/** @throws HoldfastError PRECONDITION when the machine has no identity; INVALID_CONFIG */
export async function openLeases(
  { config, logger }: Pick<WiringOptions, 'config' | 'logger'>,
  { store, tree }: Pick<Outside, 'store' | 'tree'>,
): Promise<OpenedLeases> {
  const shared = config.network.store;
  if (shared === 'embedded') {
    const leases = new EmbeddedLeaseStore(store);
    return { store: leases, sharing: undefined, close: () => leases.close() };
  }
  const { endpoints, prefix, tls, leaseTtl, fencingDelay } = shared.etcd;
  if (tls === undefined)
    logger.warn({ endpoints }, 'etcd is asked without TLS: whoever reaches it can take any address');
  const machine = await readMachine(tree);
  const clock = await openBootClock();
  const onProblem = (error: unknown): void => logger.warn({ error: describeError(error) }, 'etcd');
  // Who restarts a pod while etcd is away asks it in vain first, and has to be done before the lease is over.
  const timeoutMs = Math.min(LONGEST_ASK_MS, leaseTtl / 6);
  const connection = new EtcdConnection({
    endpoints,
    onProblem,
    timeoutMs,
    attemptMs: Math.min(LONGEST_ATTEMPT_MS, timeoutMs / 2),
    ...(tls && { readTls: readTls(tls) }),
  });
  const keyValues = new EtcdKeyValues(connection, prefix);
  const session = new HostLease({
    api: new LeaseApi(connection, keyValues, prefix),
    key: hostKey(config.nodeName).key,
    machine,
    ttlMs: leaseTtl,
    clock,
    onProblem,
  });
  session.start();
  const leases = new EtcdLeaseStore({ keyValues, fence: session, close: () => connection.close() });
  return {
    store: leases,
    sharing: {
      session,
      local: new LocalAttachments(store),
      otherHosts: new OtherHosts({ fencingDelay, leaseTtl, clock }),
    },
    close: async () => {
      await session.close();
      await leases.close();
    },
  };
}

/** As systemd has it (machine-id(5)): two machines with one node name must not be taken for one. */
async function readMachine(tree: HostTree): Promise<string> {
  const text = (await tree.readText('/etc/machine-id'))?.text.trim() ?? '';
  if (/^[0-9a-f]{32}$/.test(text)) return text;
  throw new HoldfastError(
    'PRECONDITION',
    'this machine has no identity in /etc/machine-id, by which its lease in etcd is told from that of a namesake; make one with systemd-machine-id-setup',
  );
}

const readTls =
  ({ ca, certificate, key }: NonNullable<EtcdConfig['tls']>) =>
  async () => {
    const read = await readCertificates({ certificate, key, clientCa: ca });
    return { ca: Buffer.from(read.ca), cert: Buffer.from(read.cert), key: Buffer.from(read.key) };
  };
