// One agent's topology service on its socket, with 250 pods in its books and 200 watchers: how long GetTopology takes
// while nothing changes, and while pods come and go.
import { type ChildProcess, fork } from 'node:child_process';
import { on, once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { create } from '@bufbuild/protobuf';
import { formatTable } from '../../agent/cli/output.ts';
import { callUnary, connectUnix } from '../../lib/grpc-client.ts';
import { GetTopologyRequestSchema, Topology } from '../../proto/gen/holdfast/topology/v1/topology_pb.ts';
import { quantile, time } from './measure.ts';
import type { Order, Report, Role } from './topology-processes.ts';

const PODS = 250;
const WATCHERS = 200;
const CALLS = 2000;
const WARM_UP = 100;
/** Between two calls: they are spread over many changes. */
const PAUSE_MS = 5;
/** As a node on which pods start one after the other. */
const CHANGE_EVERY_MS = 100;
const PATIENCE_MS = 60_000;

const shown = (value: number): string => `${value.toFixed(3)} ms`;

/** A process that answers every order with a report. */
class Helper {
  readonly #child: ChildProcess;
  readonly #reports: AsyncIterator<unknown>;

  constructor(role: Role, path: string, number: number) {
    const program = fileURLToPath(new URL('topology-processes.ts', import.meta.url));
    this.#child = fork(program, [role, path, `${number}`], { execArgv: ['--import=tsx'] });
    this.#reports = on(this.#child, 'message', { signal: AbortSignal.timeout(10 * PATIENCE_MS) });
  }

  async report(): Promise<Report> {
    return ((await this.#reports.next()).value as [Report])[0];
  }

  async order(order: Order): Promise<Report> {
    this.#child.send(order);
    return await this.report();
  }

  async end(): Promise<void> {
    this.#child.disconnect();
    await once(this.#child, 'exit');
  }
}

/** Prints p50 and p99 of GetTopology, without and with changes. */
export async function benchService(): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'holdfast-bench-'));
  const path = join(directory, 'topology.sock');
  const agent = new Helper('serve', path, PODS);
  const helpers = [agent];
  const client = connectUnix(path);
  try {
    await agent.report();
    const watchers = new Helper('watch', path, WATCHERS);
    helpers.push(watchers);
    await watchers.report();
    const call = () =>
      callUnary(client, Topology.method.getTopology, create(GetTopologyRequestSchema), { timeoutMs: PATIENCE_MS });
    const measure = async (what: string, changeEveryMs: number): Promise<readonly string[]> => {
      const before = await agent.order({ changeEveryMs });
      await watchers.order({ changeEveryMs });
      const samples: number[] = [];
      for (let index = -WARM_UP; index < CALLS; index += 1) {
        const took = await time(call);
        if (index >= 0) samples.push(took);
        await sleep(PAUSE_MS);
      }
      const seen = await watchers.order({ changeEveryMs });
      const after = await agent.order({ changeEveryMs: 0 });
      const counts = [`${after.count - before.count}`, `${seen.count}`, `${Math.round(after.cpuMs - before.cpuMs)} ms`];
      return [what, `${CALLS}`, shown(quantile(samples, 0.5)), shown(quantile(samples, 0.99)), ...counts];
    };
    const rows = [await measure('nothing changes', 0), await measure('pods come and go', CHANGE_EVERY_MS)];
    process.stdout.write(`GetTopology, ${PODS} pods, ${WATCHERS} watchers\n\n`);
    process.stdout.write(
      formatTable(['while', 'n', 'p50', 'p99', 'changes', 'messages to watchers', "agent's CPU"], rows),
    );
    process.stdout.write('\n');
  } finally {
    client.close();
    for (const helper of helpers.toReversed()) await helper.end();
    await rm(directory, { recursive: true, force: true });
  }
}
