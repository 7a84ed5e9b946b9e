// The picture of a host in the terminal: where its CPUs and memory are, and who owns what. Pure.
import { styleText } from 'node:util';
import type {
  Cpu,
  HostTopology,
  ListAllocationsResponse,
  NumaNode,
} from '../../proto/gen/holdfast/topology/v1/topology_pb.ts';
import { CpuSet } from '../model/cpu-set.ts';
import { bytes, formatBytes } from '../model/quantity.ts';
import { formatTable } from './output.ts';
import { cellShapeOf, drawCores, drawRanges, type Paint } from './topology-cells.ts';
import { markCpus, type Owner } from './topology-marks.ts';
import { printable, shorten } from './topology-text.ts';

export interface PictureOptions {
  /** Columns of the terminal; no fewer than {@link NARROWEST} are drawn. */
  readonly width: number;
  readonly colour: boolean;
}

/** The widest cells of the owners' table; of a name, what tells most of them apart. */
const CELLS = { name: 24, cpuset: 9, cpus: 24, mems: 10 };
/** All columns but the names: a mark, the cells, and two blanks before each. */
const BESIDE_NAMES = 1 + CELLS.cpuset + CELLS.cpus + CELLS.mems + 4 * 2;
/** Columns that the picture needs. */
export const NARROWEST = BESIDE_NAMES + CELLS.name;

/** Beyond this many CPUs single cores are no longer drawn, only ranges. */
const CORES_DRAWN_UP_TO = 160;
const GROUPS_DRAWN_UP_TO = 32;
/** Distances that are kept in one line. */
const MOST_TOGETHER = 4;

const plural = (count: number, one: string): string => `${count} ${one}${count === 1 ? '' : 's'}`;
const gibibytes = (value: bigint): string => formatBytes(bytes(Number(value)));

/** Breaks after words so that no line is longer than the width, as far as words allow; later lines are indented. */
function wrap(words: readonly string[], width: number, indent: string): readonly string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of words) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = indent + word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return line === '' ? lines : [...lines, line];
}

function headline(host: HostTopology, width: number): readonly string[] {
  const online = host.cpus.filter(({ online }) => online);
  const count = (key: (cpu: Cpu) => number): number => new Set(online.map(key)).size;
  const memory = host.numaNodes.reduce((sum, node) => sum + node.memoryBytes, 0n);
  const offline = host.cpus.length - online.length;
  return [
    ...(host.nodeName === '' ? [] : [`${shorten(printable(host.nodeName), width - 1)}:`]),
    `${plural(
      count(({ socket }) => socket),
      'socket',
    )},`,
    `${plural(host.numaNodes.length, 'NUMA node')},`,
    `${plural(
      count(({ core }) => core),
      'core',
    )},`,
    `${plural(online.length, 'CPU')}${offline > 0 ? ` (${offline} more offline)` : ''},`,
    gibibytes(memory),
  ].flatMap((part) => part.split(' '));
}

/** Memory, huge pages and distances of one node, as phrases that are kept together. */
function describeNode(node: NumaNode): readonly string[] {
  const available = node.memoryAvailableBytes;
  const left = available === node.memoryBytes ? '' : ` (${gibibytes(available)} available)`;
  const pools = node.hugepages
    .filter(({ total }) => total > 0n)
    .map((pool) => `${gibibytes(pool.pageSizeBytes)} pages: ${pool.free} of ${pool.total} free`);
  const others = node.distances.filter((distance) => distance.node !== node.id);
  const each = others.map((distance) => `${distance.node}:${distance.value}`);
  // The distances to many nodes are longer than a line.
  const [first, ...rest] = each.length <= MOST_TOGETHER ? [each.join(' ')] : each;
  const distances = first === undefined || first === '' ? [] : [`distance ${first}`, ...rest];
  return [`${node.memoryBytes === 0n ? 'no memory' : gibibytes(node.memoryBytes)}${left}`, ...pools, ...distances];
}

/** Of a bar, without its brackets. */
const BAR_WIDTH = 30;

/** `memory [=====-----] 15.5 GiB of 31 GiB promised` */
function drawMemory({ memoryBytes, memoryAvailableBytes }: NumaNode, paint: Paint): readonly string[] {
  if (memoryBytes === 0n) return [];
  const promised = memoryBytes > memoryAvailableBytes ? memoryBytes - memoryAvailableBytes : 0n;
  // Rounded up: a node that something was promised on never looks untouched.
  const filled = Number((promised * BigInt(BAR_WIDTH) + memoryBytes - 1n) / memoryBytes);
  const bar = `${paint('='.repeat(filled), 'cyan')}${'-'.repeat(BAR_WIDTH - filled)}`;
  return [`  memory [${bar}] ${gibibytes(promised)} of ${gibibytes(memoryBytes)} promised`];
}

function compareNumbers(a: readonly number[], b: readonly number[]): number {
  return a.map((value, index) => value - (b[index] ?? 0)).find((difference) => difference !== 0) ?? 0;
}

interface Group {
  readonly label: string;
  readonly cpus: readonly Cpu[];
}

type Grouping = (cpus: readonly Cpu[]) => readonly Group[];

/** Groups CPUs by socket and, unless that makes too many groups to read, by what distinguishes them within it. */
function groupingFor(host: HostTopology): Grouping {
  const dies = new Map<number, Set<number>>();
  const sharers = new Map<number, Set<number>>();
  for (const cpu of host.cpus) {
    if (!cpu.online) continue;
    dies.set(cpu.socket, (dies.get(cpu.socket) ?? new Set()).add(cpu.die));
    sharers.set(cpu.l3, (sharers.get(cpu.l3) ?? new Set()).add(cpu.core));
  }
  const detailed = sharers.size <= GROUPS_DRAWN_UP_TO || host.cpus.length <= CORES_DRAWN_UP_TO;
  const labelOf = (cpu: Cpu): string => {
    if (!cpu.online) return 'offline';
    const parts = [`socket ${cpu.socket}`];
    if (detailed && (dies.get(cpu.socket)?.size ?? 0) > 1) parts.push(`die ${cpu.die}`);
    // A cache that one core has for itself is no group of cores.
    if (detailed && cpu.l3 >= 0 && (sharers.get(cpu.l3)?.size ?? 0) > 1) parts.push(`L3 ${cpu.l3}`);
    return parts.join(', ');
  };
  return (cpus) => {
    const groups = new Map<string, Cpu[]>();
    const place = (cpu: Cpu): readonly number[] => [cpu.online ? 0 : 1, cpu.socket, cpu.die, cpu.l3, cpu.id];
    for (const cpu of cpus.toSorted((a, b) => compareNumbers(place(a), place(b))))
      groups.set(labelOf(cpu), [...(groups.get(labelOf(cpu)) ?? []), cpu]);
    return [...groups].map(([label, members]) => ({ label, cpus: members }));
  };
}

function ownersTable(owners: readonly Owner[], width: number): readonly string[] {
  if (owners.length === 0) return [];
  const cell = (text: string, length: number): string => shorten(printable(text), length);
  const rows = owners.map((owner) => [
    owner.mark,
    cell(owner.name, Math.max(CELLS.name, width - BESIDE_NAMES)),
    cell(owner.cpuset, CELLS.cpuset),
    cell(owner.cpus, CELLS.cpus),
    owner.mems === '' ? '-' : cell(owner.mems, CELLS.mems),
  ]);
  return ['', ...formatTable(['', 'container', 'cpuset', 'cpus', 'memory'], rows).trimEnd().split('\n')];
}

/**
 * Draws the host.
 * @param allocations - who owns what; a host without an agent has none
 * @returns lines that fit the width, ending with a newline; escape sequences only with `colour`, whatever names there are
 */
export function drawTopology(
  host: HostTopology,
  allocations: ListAllocationsResponse,
  { width: columns, colour }: PictureOptions,
): string {
  const width = Math.max(NARROWEST, columns);
  const marks = markCpus(host, allocations);
  // Whether standard output is a terminal is the caller's question, not styleText's.
  const paint: Paint = (text, style) =>
    colour && style !== undefined ? styleText(style, text, { validateStream: false }) : text;
  const group = groupingFor(host);
  const shape = cellShapeOf(host.cpus);
  const draw = (cpus: readonly Cpu[]): readonly string[] =>
    host.cpus.length > CORES_DRAWN_UP_TO
      ? drawRanges(cpus, marks, width - 4, paint)
      : drawCores(cpus, marks, shape, width - 4, paint);
  const drawSection = (cpus: readonly Cpu[]): readonly string[] =>
    group(cpus).flatMap(({ label, cpus: members }) => [`  ${label}`, ...draw(members).map((line) => `    ${line}`)]);
  // Where nothing is promised anywhere, bars would say nothing.
  const isPromised = host.numaNodes.some((node) => node.memoryAvailableBytes !== node.memoryBytes);
  const lines = [...wrap(headline(host, width), width, '  ')];
  for (const node of host.numaNodes) {
    const inNode = CpuSet.parse(node.cpus);
    const cpus = host.cpus.filter((cpu) => inNode.has(cpu.id) || (!cpu.online && cpu.numaNode === node.id));
    const title = [`NUMA node ${node.id}`, ...describeNode(node)].map((part, index, all) =>
      index < all.length - 1 ? `${part},` : part,
    );
    lines.push('', ...wrap(title, width, '  '));
    if (isPromised) lines.push(...drawMemory(node, paint));
    lines.push(...(cpus.length === 0 ? ['  no CPUs'] : drawSection(cpus)));
  }
  const known = new Set(host.numaNodes.map(({ id }) => id));
  const homeless = host.cpus.filter((cpu) => !known.has(cpu.numaNode));
  if (homeless.length > 0) lines.push('', 'in no NUMA node', ...drawSection(homeless));
  lines.push('', ...wrap(marks.legend, width, '  '));
  lines.push(...ownersTable(marks.owners, width));
  if (marks.sharedContainers > 0) {
    lines.push('', `${plural(marks.sharedContainers, 'more container')} in the shared CPUs.`);
  }
  return `${lines.join('\n')}\n`;
}
