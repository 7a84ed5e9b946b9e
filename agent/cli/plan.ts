// `holdfast plan`: where a pod would go, on this host as it is now, or on a copy of another machine's /sys.
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline/promises';
import { create, toJson } from '@bufbuild/protobuf';
import { Command, InvalidArgumentError, Option } from 'commander';
import { HoldfastError, isErrno } from '../../lib/errors.ts';
import {
  PlanPlacementRequestSchema,
  type PlanPlacementResponse,
  PlanPlacementResponseSchema,
  Topology,
} from '../../proto/gen/holdfast/topology/v1/topology_pb.ts';
import { Ledger } from '../cpuset/ledger.ts';
import { buildMachine } from '../cpuset/machine.ts';
import { planPlacement } from '../cpuset/plan-placement.ts';
import { parseTraceLine, startTrace, type TraceResult } from '../cpuset/plan-trace.ts';
import type { PlanRules } from '../cpuset/room.ts';
import { CpuSet } from '../model/cpu-set.ts';
import { parseBytes, parseMilliCpu } from '../model/parse-quantity.ts';
import { type Bytes, bytes, type MilliCpu } from '../model/quantity.ts';
import { readHostTopology } from '../topology/read-topology.ts';
import { askAgent, socketOption, TOPOLOGY_SOCKET } from './ask-agent.ts';
import { formatOutput, formatTable, type OutputFormat, outputOption } from './output.ts';

const READ_TIMEOUT_MS = 60_000;

interface PlanOptions {
  readonly cpus?: MilliCpu;
  readonly memory: Bytes;
  readonly cpuset: 'shared' | 'exclusive';
  readonly numa: 'none' | 'preferred' | 'required';
  readonly root?: string;
  readonly trace?: string;
  readonly reservedCpus?: CpuSet;
  readonly strategy?: PlanRules['strategy'];
  readonly socket: string;
  readonly output: OutputFormat;
}

/** A commander argument from a parser of ours, with its message. */
function argument<Value>(parse: (text: string) => Value): (text: string) => Value {
  return (text) => {
    try {
      return parse(text);
    } catch (error) {
      throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
    }
  };
}

async function rulesAndHost({ root = '/', reservedCpus = CpuSet.EMPTY, strategy = 'pack' }: PlanOptions) {
  const { topology, remarks } = await readHostTopology(root, AbortSignal.timeout(READ_TIMEOUT_MS));
  for (const remark of remarks) process.stderr.write(`holdfast: ${remark}\n`);
  const rules: PlanRules = { strategy, unboundMemory: 'proportional', reservedMemory: 0 };
  return { topology, reservedCpus, rules };
}

async function* readLines(path: string): AsyncGenerator<string> {
  try {
    yield* createInterface({ input: createReadStream(path, 'utf8'), crlfDelay: Number.POSITIVE_INFINITY });
  } catch (cause) {
    if (!isErrno(cause, 'ENOENT', 'ENOTDIR', 'EACCES', 'EISDIR')) throw cause;
    throw new HoldfastError('NOT_FOUND', `the trace ${path} cannot be read`, { cause });
  }
}

/**
 * Runs the operations of a trace, one after the other.
 * @param lines - JSON, one operation each; blank ones are passed over
 * @throws HoldfastError INVALID_REQUEST naming the first line that is not an operation
 */
export async function* runTrace(
  lines: AsyncIterable<string>,
  run: ReturnType<typeof startTrace>,
): AsyncGenerator<TraceResult> {
  let number = 0;
  for await (const line of lines) {
    number += 1;
    if (line.trim() !== '') yield run(parseTraceLine(line, number));
  }
}

/** Waits for a reader that is slower than the planner. */
async function print(text: string): Promise<void> {
  if (process.stdout.write(text)) return;
  await new Promise<void>((resolve) => {
    process.stdout.once('drain', resolve);
  });
}

async function printTrace(path: string, options: PlanOptions): Promise<void> {
  const { topology, reservedCpus, rules } = await rulesAndHost(options);
  for await (const result of runTrace(readLines(path), startTrace(topology, reservedCpus, rules))) {
    await print(`${JSON.stringify(result)}\n`);
  }
}

async function planOne(cpus: MilliCpu, options: PlanOptions): Promise<PlanPlacementResponse> {
  const { memory, cpuset, numa } = options;
  const request = create(PlanPlacementRequestSchema, {
    namespace: 'default',
    numa,
    containers: [{ name: 'container', cpuMillis: BigInt(cpus), memoryBytes: BigInt(memory), cpuset }],
  });
  if (options.root === undefined) return await askAgent(options.socket, Topology.method.planPlacement, request);
  const { topology, reservedCpus, rules } = await rulesAndHost(options);
  const ledger = new Ledger(buildMachine(topology, reservedCpus), rules);
  return create(PlanPlacementResponseSchema, planPlacement(ledger, request));
}

/** What people read. */
export function formatPlan({ fits, containers, reason }: PlanPlacementResponse): string {
  if (!fits) return `It does not fit: ${reason}\n`;
  const rows = containers.map(({ cpuset, cpus, mems }) => [cpuset, cpus, mems === '' ? 'any' : mems]);
  const note = reason === '' ? '' : `\nNote: ${reason}\n`;
  return `${formatTable(['cpuset', 'cpus', 'memory nodes'], rows)}${note}`;
}

/**
 * `holdfast plan --cpus 4 --memory 8Gi --cpuset exclusive --numa required [--root DIR]` and
 * `holdfast plan [--root DIR] --trace FILE`. Exit code 1 when the request does not fit.
 */
export function planCommand(): Command {
  return new Command('plan')
    .description('where a pod would go, and why not where it would not; nothing is reserved or changed')
    .addOption(new Option('--cpus <n>', 'CPUs, such as 4 or 500m').argParser(argument(parseMilliCpu)))
    .addOption(
      new Option('--memory <size>', 'memory, such as 8Gi').argParser(argument(parseBytes)).default(bytes(0), 'none'),
    )
    .addOption(new Option('--cpuset <mode>', 'who uses the CPUs').choices(['shared', 'exclusive']).default('shared'))
    .addOption(
      new Option('--numa <policy>', 'from one NUMA node').choices(['none', 'preferred', 'required']).default('none'),
    )
    .option('--root <dir>', "plan on a copy of another machine's /sys and /proc, with nothing placed yet")
    .option('--trace <file>', 'run the operations of a file, one JSON object per line, on a host with nothing placed')
    .addOption(
      new Option('--reserved-cpus <list>', 'never owned exclusively; with --root or --trace').argParser(
        argument((text) => CpuSet.parse(text)),
      ),
    )
    .addOption(
      new Option('--strategy <name>', 'as numa.strategy; with --root or --trace (default: "pack")').choices([
        'spread',
        'pack',
      ]),
    )
    .addOption(socketOption(TOPOLOGY_SOCKET))
    .addOption(outputOption())
    .action(async (options: PlanOptions, command: Command) => {
      const { cpus, trace, root } = options;
      if (trace !== undefined) {
        await printTrace(trace, options);
        return;
      }
      if (cpus === undefined) return command.error('error: --cpus is missing (or --trace FILE for a list of requests)');
      if (root === undefined && (options.reservedCpus ?? options.strategy) !== undefined) {
        return command.error("error: --reserved-cpus and --strategy need --root: the running agent's own are used");
      }
      const response = await planOne(cpus, options);
      const plain = toJson(PlanPlacementResponseSchema, response, { alwaysEmitImplicit: true });
      await print(formatOutput(options.output, plain, () => formatPlan(response)));
      if (!response.fits) process.exitCode = 1;
    });
}
