// `holdfast topology`: CPUs, NUMA nodes and memory of this host or of a copy of another, and who owns what.
import { hostname } from 'node:os';
import { create, toJson } from '@bufbuild/protobuf';
import { Command } from 'commander';
import { HoldfastError } from '../../lib/errors.ts';
import {
  GetTopologyRequestSchema,
  type HostTopology,
  HostTopologySchema,
  ListAllocationsRequestSchema,
  type ListAllocationsResponse,
  ListAllocationsResponseSchema,
  Topology,
} from '../../proto/gen/holdfast/topology/v1/topology_pb.ts';
import { openHostTree } from '../host/host-tree.ts';
import { publishTopology, unallocated } from '../topology/publish.ts';
import { readHostTopology } from '../topology/read-topology.ts';
import { askAgent, socketOption, TOPOLOGY_SOCKET } from './ask-agent.ts';
import { formatOutput, type OutputFormat, outputOption } from './output.ts';
import { drawTopology } from './topology-picture.ts';

const READ_TIMEOUT_MS = 60_000;
const NARROWEST = 40;
const WIDEST = 160;

interface Facts {
  readonly host: HostTopology;
  readonly allocations: ListAllocationsResponse;
  /** For standard error. */
  readonly remarks: readonly string[];
}

async function askTopology(socket: string): Promise<Facts> {
  const [host, allocations] = await Promise.all([
    askAgent(socket, Topology.method.getTopology, create(GetTopologyRequestSchema)),
    askAgent(socket, Topology.method.listAllocations, create(ListAllocationsRequestSchema)),
  ]);
  return { host, allocations, remarks: [] };
}

/** The name of the machine whose tree it is; the empty string when the tree does not have it. */
async function nodeNameOf(root: string): Promise<string> {
  if (root === '/') return hostname();
  const file = await (await openHostTree(root)).readText('/proc/sys/kernel/hostname');
  return file?.text.trim() ?? '';
}

async function readTopology(root: string): Promise<Facts> {
  const { topology, remarks } = await readHostTopology(root, AbortSignal.timeout(READ_TIMEOUT_MS));
  const as = { version: 0n, nodeName: await nodeNameOf(root) };
  return {
    host: publishTopology(topology, unallocated(topology), as),
    allocations: create(ListAllocationsResponseSchema),
    remarks,
  };
}

async function gather(root: string | undefined, socket: string): Promise<Facts> {
  if (root !== undefined) return readTopology(root);
  try {
    return await askTopology(socket);
  } catch (error) {
    if (!(error instanceof HoldfastError) || error.code !== 'UNAVAILABLE') throw error;
    const facts = await readTopology('/');
    const why = `${error.message}; read from /sys, as if nothing were handed out`;
    return { ...facts, remarks: [why, ...facts.remarks] };
  }
}

/** Whether escape sequences may be written (https://no-color.org). */
function wantsColour(): boolean {
  return process.stdout.isTTY === true && (process.env['NO_COLOR'] ?? '') === '' && process.env['TERM'] !== 'dumb';
}

/** `holdfast topology [-o table|json|yaml] [--root DIR] [--socket PATH]` */
export function topologyCommand(): Command {
  return new Command('topology')
    .description("the host's CPUs, NUMA nodes and memory, and who owns what")
    .option('--root <dir>', "read a copy of another machine's /sys and /proc instead of asking the agent")
    .addOption(outputOption())
    .addOption(socketOption(TOPOLOGY_SOCKET))
    .action(async (options: { readonly output: OutputFormat; readonly root?: string; readonly socket: string }) => {
      const { host, allocations, remarks } = await gather(options.root, options.socket);
      for (const remark of remarks) process.stderr.write(`holdfast: ${remark}\n`);
      const plain = toJson(HostTopologySchema, host, { alwaysEmitImplicit: true });
      const width = Math.min(WIDEST, Math.max(NARROWEST, process.stdout.columns ?? 80));
      const picture = (): string => drawTopology(host, allocations, { width, colour: wantsColour() });
      process.stdout.write(formatOutput(options.output, plain, picture));
    });
}
