// The other two processes of the topology service's bench: the agent's service, and those who watch it. Each has its own
// event loop, so that what is measured is not the work of the one who measures.
import { create } from '@bufbuild/protobuf';
import { implement, serveUnix } from '../../agent/api/grpc-server.ts';
import { topologyHandlers } from '../../agent/api/topology-service.ts';
import { createTopologyView } from '../../agent/api/topology-view.ts';
import { Ledger } from '../../agent/cpuset/ledger.ts';
import { buildMachine } from '../../agent/cpuset/machine.ts';
import { planPod } from '../../agent/cpuset/plan-pod.ts';
import { CpuSet } from '../../agent/model/cpu-set.ts';
import { Changes } from '../../lib/changes.ts';
import { callServerStream, connectUnix } from '../../lib/grpc-client.ts';
import { Topology, WatchTopologyRequestSchema } from '../../proto/gen/holdfast/topology/v1/topology_pb.ts';
import { evenHost, GIB } from '../support/hand-made-hosts.ts';
import { exclusivePod } from '../support/random-pods.ts';
import { PLAN_RULES, placingOf } from '../support/topology-agent.ts';

/** `serve`: the service with so many pods; `watch`: so many watchers of it. */
export type Role = 'serve' | 'watch';

/** What the bench sends to the service: milliseconds between two changes, 0 for none. To the watchers: anything. */
export interface Order {
  readonly changeEveryMs: number;
}

/** What both answer with, first of all when they are ready: changes that were made, or messages that came, since the last. */
export interface Report {
  readonly count: number;
  /** CPU time that the process has used so far, milliseconds. */
  readonly cpuMs: number;
}

const PATIENCE_MS = 600_000;
const [role, path = '', number = '0'] = process.argv.slice(2);

function report(count: number): void {
  const { user, system } = process.cpuUsage();
  process.send?.({ count, cpuMs: (user + system) / 1000 } satisfies Report);
}

async function serve(pods: number): Promise<void> {
  const host = evenHost(8, 32, 2, { coresPerL3: 8, memoryBytes: 128 * GIB });
  const ledger = new Ledger(buildMachine(host, CpuSet.of(0)), PLAN_RULES);
  const changes = new Changes();
  const put = (name: string): void => {
    const { identity, need } = exclusivePod(name, 1, GIB / 4);
    const plan = planPod(ledger.room, identity, need);
    if (!plan.ok) throw new Error(plan.reason);
    ledger.set(plan.holding);
    changes.announce();
  };
  for (let index = 0; index < pods; index += 1) put(`pod-${index}`);
  const view = createTopologyView({
    nodeName: 'bench',
    topology: host,
    placing: placingOf(ledger),
    changes,
  });
  const services = [
    implement(
      Topology,
      topologyHandlers(view, changes, () => undefined),
    ),
  ];
  await serveUnix({ path, services, onFinished: () => undefined });
  let made = 0;
  let timer: NodeJS.Timeout | undefined;
  // One pod goes and another comes: as many are in the books all the time.
  const change = (): void => {
    ledger.delete(exclusivePod(`pod-${made}`, 1).identity.uid);
    put(`pod-${made + pods}`);
    made += 1;
  };
  process.on('message', ({ changeEveryMs }: Order) => {
    clearInterval(timer);
    timer = changeEveryMs > 0 ? setInterval(change, changeEveryMs) : undefined;
    report(made);
  });
  report(0);
}

async function watch(watchers: number): Promise<void> {
  let count = 0;
  let begun = 0;
  const follow = async (): Promise<void> => {
    const client = connectUnix(path);
    const request = create(WatchTopologyRequestSchema);
    let isFirst = true;
    for await (const _ of callServerStream(client, Topology.method.watchTopology, request, {
      timeoutMs: PATIENCE_MS,
    })) {
      count += 1;
      if (isFirst) begun += 1;
      if (isFirst && begun === watchers) report(count);
      isFirst = false;
    }
  };
  process.on('message', () => {
    report(count);
    count = 0;
  });
  await Promise.all(Array.from({ length: watchers }, follow));
}

process.on('disconnect', () => process.exit(0));
const begin: Readonly<Record<string, (number: number) => Promise<void>>> = { serve, watch };
await begin[role ?? '']?.(Number(number));
