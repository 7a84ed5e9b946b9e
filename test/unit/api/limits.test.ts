// What the limits of clients that only read come to, one with another.
import { readFileSync } from 'node:fs';
import { create, toBinary } from '@bufbuild/protobuf';
import t from 'tap';
import { TCP_LIMITS, UNIX_LIMITS } from '../../../agent/api/limits.ts';
import { PlanPlacementRequestSchema } from '../../../proto/gen/holdfast/topology/v1/topology_pb.ts';

const read = (path: string): string => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8');

t.test('a plan for a pod of a hundred containers with the longest names is taken', (t) => {
  const containers = Array.from({ length: 100 }, () => ({
    name: 'x'.repeat(63),
    cpuMillis: 128_000n,
    memoryBytes: 2n ** 45n,
    cpuset: 'exclusive',
  }));
  const request = create(PlanPlacementRequestSchema, { namespace: 'x'.repeat(63), numa: 'preferred', containers });
  const { length } = toBinary(PlanPlacementRequestSchema, request);
  t.ok(length < UNIX_LIMITS.mostRequestBytes / 4, `${length} bytes`);
  t.ok(length < TCP_LIMITS.mostRequestBytes / 4);
  t.end();
});

t.test('all clients together leave most of the descriptors, and no address has all connections', (t) => {
  const descriptors = Number(/^LimitNOFILE=(\d+)$/m.exec(read('systemd/holdfast-agent.service'))?.[1]);
  const connections = 2 * UNIX_LIMITS.mostConnections + TCP_LIMITS.mostConnections;
  t.ok(connections <= descriptors / 32, `${connections} of ${descriptors}`);
  t.ok(TCP_LIMITS.mostPerAddress <= TCP_LIMITS.mostConnections / 2);
  t.ok(TCP_LIMITS.mostHalfOpen <= TCP_LIMITS.mostPerAddress / 2);
  t.end();
});

t.test('docs/security.md says what they are', (t) => {
  const text = read('docs/security.md').replaceAll(/\s+/g, ' ');
  const { mostConnections, mostHalfOpen, mostPerAddress, handshakeMs, ageMs, idleMs } = TCP_LIMITS;
  for (const sentence of [
    `a connection lasts for ${ageMs === 3_600_000 ? 'an hour' : `${ageMs} ms`}`,
    `At most ${mostConnections} connections are open, ${mostPerAddress} of them from one address and ${mostHalfOpen} in their handshake, which may take ${handshakeMs / 1000} s`,
    `one without a call is closed after ${idleMs / 60_000} minutes`,
    `At most ${UNIX_LIMITS.mostConnections} connections of each of the two are open`,
  ]) {
    t.ok(text.includes(sentence), sentence);
  }
  for (const { mostRequestBytes, mostStreams, pingEveryMs, pingTimeoutMs } of [UNIX_LIMITS, TCP_LIMITS]) {
    const all = `a request may have ${mostRequestBytes / 1024} KiB, a connection ${mostStreams} calls at a time`;
    t.ok(text.includes(all), all);
    const ping = `pinged every ${pingEveryMs / 1000} s, and is gone when it has not answered for ${pingTimeoutMs / 1000} s`;
    t.ok(text.includes(ping), ping);
  }
  t.end();
});
