// A host with a lease in etcd, as a process that can be stopped: tells every state of its session, and many times a second
// whether it believes in its lease. Arguments: endpoint, prefix, node name, TTL in milliseconds.
import { EtcdConnection } from '../../../agent/cluster/etcd/connection.ts';
import { HostLease } from '../../../agent/cluster/etcd/host-lease.ts';
import { EtcdKeyValues } from '../../../agent/cluster/etcd/key-values.ts';
import { LeaseApi } from '../../../agent/cluster/etcd/lease-api.ts';
import { openBootClock } from '../../../agent/host/boot-clock.ts';
import { storeKey } from '../../../agent/network/lease-store.ts';
import { describeError } from '../../../lib/errors.ts';

const [endpoint = '', prefix = '', node = '', ttl = ''] = process.argv.slice(2);
const onProblem = (error: unknown): void => void process.stderr.write(`${describeError(error)}\n`);
const connection = new EtcdConnection({ endpoints: [endpoint], onProblem });
const clock = await openBootClock();
const session = new HostLease({
  api: new LeaseApi(connection, new EtcdKeyValues(connection, prefix), prefix),
  key: storeKey('hosts', node),
  machine: 'a machine',
  ttlMs: Number(ttl),
  clock,
  onProblem,
});

function say(state?: string): void {
  const { identity } = session;
  process.stdout.write(`${JSON.stringify({ at: clock(), state, identity, isValid: session.isValid() })}\n`);
}

session.onChange(say);
session.start();
setInterval(() => say(), 10);
