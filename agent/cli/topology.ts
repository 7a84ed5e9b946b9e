// `holdfast topology`: CPUs, NUMA nodes and memory of this host or of a copy of another, and who owns what.
import { once } from 'node:events';
import { hostname } from 'node:os';
import { create, toJson } from '@bufbuild/protobuf';
import { Command, Option } from 'commander';
import { HoldfastError, isErrno } from '../../lib/errors.ts';
import { HostTopologySchema, ListAllocationsResponseSchema } from '../../proto/gen/holdfast/topology/v1/topology_pb.ts';
import { openHostTree } from '../host/host-tree.ts';
import { publishTopology, unallocated } from '../topology/publish.ts';
import { readHostTopology } from '../topology/read-topology.ts';
import { socketOption, TOPOLOGY_SOCKET } from './ask-agent.ts';
import { formatOutput, type OutputFormat, outputOption } from './output.ts';
import { drawTopology } from './topology-picture.ts';
import { type HostState, type SourceOptions, TopologySource } from './topology-source.ts';
import { printable, printableError } from './topology-text.ts';

const READ_TIMEOUT_MS = 60_000;
const WIDEST = 160;

/** Escape sequences of every terminal since the VT100. */
const CLEAR = '\u001b[2J';
const HOME = '\u001b[H';
const CLEAR_RIGHT = '\u001b[K';
const CLEAR_BELOW = '\u001b[J';

interface TopologyOptions extends SourceOptions {
  readonly output: OutputFormat;
  readonly root?: string;
  readonly watch?: boolean;
}

interface Facts extends HostState {
  /** For standard error. */
  readonly remarks: readonly string[];
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

async function gather(options: TopologyOptions): Promise<Facts> {
  if (options.root !== undefined) return readTopology(options.root);
  const source = await TopologySource.open(options);
  try {
    return { ...(await source.read()), remarks: [] };
  } catch (error) {
    const elsewhere = options.endpoint !== undefined;
    if (elsewhere || !(error instanceof HoldfastError) || error.code !== 'UNAVAILABLE') throw error;
    const facts = await readTopology('/');
    const why = `${error.message}; read from /sys, as if nothing were handed out`;
    return { ...facts, remarks: [why, ...facts.remarks] };
  } finally {
    source.close();
  }
}

/** Whether escape sequences may be written (https://no-color.org). */
function wantsColour(): boolean {
  return process.stdout.isTTY === true && (process.env['NO_COLOR'] ?? '') === '' && process.env['TERM'] !== 'dumb';
}

function picture({ host, allocations }: HostState): string {
  const width = Math.min(WIDEST, process.stdout.columns ?? 80);
  return drawTopology(host, allocations, { width, colour: wantsColour() });
}

function plain({ host }: HostState): unknown {
  return toJson(HostTopologySchema, host, { alwaysEmitImplicit: true });
}

/** One of many states: a line of JSON, a YAML document, or the picture in the place of the one before. */
function formatUpdate(format: OutputFormat, state: HostState): string {
  if (format === 'json') return `${JSON.stringify(plain(state))}\n`;
  if (format === 'yaml') return `---\n${formatOutput(format, plain(state), () => '')}`;
  return process.stdout.isTTY === true ? redraw(picture(state), process.stdout.rows) : `${picture(state)}\n`;
}

/** In the place of the last picture; what is below the screen is left out, for it would scroll the rest away. */
function redraw(text: string, rows: number): string {
  const lines = text.trimEnd().split('\n');
  const shown = lines.length < rows ? lines : [...lines.slice(0, rows - 2), `… ${lines.length - rows + 2} more lines`];
  return `${HOME}${shown.map((line) => `${line}${CLEAR_RIGHT}\n`).join('')}${CLEAR_BELOW}`;
}

async function show(options: TopologyOptions): Promise<void> {
  const { remarks, ...state } = await gather(options);
  for (const remark of remarks) process.stderr.write(`holdfast: ${printable(remark)}\n`);
  process.stdout.write(formatOutput(options.output, plain(state), () => picture(state)));
}

async function watch(options: TopologyOptions): Promise<void> {
  const source = await TopologySource.open(options);
  const reader = new AbortController();
  process.stdout.on('error', (error) => reader.abort(error));
  try {
    if (options.output === 'table' && process.stdout.isTTY === true) process.stdout.write(CLEAR);
    const onAway = (why: string): void => void process.stderr.write(`holdfast: ${printable(why)}; trying again\n`);
    for await (const state of source.watch(onAway, reader.signal)) {
      // A slow reader holds the stream up, and gets the latest state when it reads again.
      if (!process.stdout.write(formatUpdate(options.output, state))) await once(process.stdout, 'drain');
    }
  } catch (error) {
    // Whoever read has seen enough: `| head`.
    if (!isErrno(error, 'EPIPE')) throw error;
  } finally {
    source.close();
  }
}

/** `holdfast topology [-o table|json|yaml] [--watch] [--root DIR | --socket PATH | --endpoint HOST:PORT --tls-…]` */
export function topologyCommand(): Command {
  return new Command('topology')
    .description("the host's CPUs, NUMA nodes and memory, and who owns what")
    .option('--watch', 'show every change, until interrupted; JSON is then a line per change')
    .addOption(
      new Option(
        '--root <dir>',
        "read a copy of another machine's /sys and /proc instead of asking the agent",
      ).conflicts(['watch', 'endpoint']),
    )
    .option('--endpoint <host:port>', 'ask the agent of another node over TCP')
    .addOption(ofEndpoint('--tls-ca <file>', 'authorities of the agent, PEM'))
    .addOption(ofEndpoint('--tls-cert <file>', 'certificate of this client, PEM'))
    .addOption(ofEndpoint('--tls-key <file>', 'its key, PEM'))
    .addOption(ofEndpoint('--server-name <name>', "the name in the agent's certificate, when it is not HOST"))
    .addOption(outputOption())
    .addOption(socketOption(TOPOLOGY_SOCKET).conflicts(['endpoint', 'root']))
    .action(async (options: TopologyOptions) => {
      try {
        await (options.watch === true ? watch(options) : show(options));
      } catch (error) {
        throw printableError(error);
      }
    });
}

/** An option that says how the agent of another node is asked. */
function ofEndpoint(flags: string, description: string): Option {
  return new Option(flags, `with --endpoint: ${description}`).conflicts('root');
}
