// Rows of cores, and rows of ranges for hosts with too many cores to draw. Pure.
import type { Cpu } from '../../proto/gen/holdfast/topology/v1/topology_pb.ts';
import { CpuSet } from '../model/cpu-set.ts';
import type { CpuMark, CpuMarks, Style } from './topology-marks.ts';

export type Paint = (text: string, style: Style | undefined) => string;

const UNKNOWN: CpuMark = { mark: '?', style: undefined, word: '?' };

/** How wide a cell is: the same for all cores of a host, so that the rows line up. */
export interface CellShape {
  /** Of the highest CPU number. */
  readonly digits: number;
  /** CPUs of the core that has most. */
  readonly threads: number;
}

export function cellShapeOf(cpus: readonly Cpu[]): CellShape {
  const threads = new Map<number, number>();
  for (const { core, online } of cpus) if (online) threads.set(core, (threads.get(core) ?? 0) + 1);
  return {
    digits: String(Math.max(0, ...cpus.map(({ id }) => id))).length,
    threads: Math.max(1, ...threads.values()),
  };
}

/** `[ 0r 16r]` for each core with its SMT CPUs, as many as fit in a line; no brackets where no core has two. */
export function drawCores(
  cpus: readonly Cpu[],
  marks: CpuMarks,
  { digits, threads }: CellShape,
  width: number,
  paint: Paint,
): readonly string[] {
  const cores = new Map<string, number[]>();
  for (const { id, core, online } of cpus) {
    // Nobody knows which core an offline CPU belongs to.
    const key = online ? `${core}` : `offline ${id}`;
    cores.set(key, [...(cores.get(key) ?? []), id]);
  }
  const cellWidth = threads * (digits + 2) - 1 + (threads > 1 ? 2 : 0);
  const perLine = Math.max(1, Math.floor((width + 1) / (cellWidth + 1)));
  const cells = [...cores.values()].map((ids) => {
    const text = ids
      .map((id) => {
        const { mark, style } = marks.of.get(id) ?? UNKNOWN;
        return paint(`${String(id).padStart(digits)}${mark}`, style);
      })
      .join(' ');
    // Hybrid CPUs have cores with one thread beside cores with two: all cells are as wide as the widest.
    const missing = ' '.repeat((threads - ids.length) * (digits + 2));
    return threads > 1 ? `[${text}]${missing}` : text;
  });
  const lines: string[] = [];
  for (let start = 0; start < cells.length; start += perLine) {
    lines.push(
      cells
        .slice(start, start + perLine)
        .join(' ')
        .trimEnd(),
    );
  }
  return lines;
}

/** `shared: 4-15,20-31`: the CPUs of each mark, folded at commas. */
export function drawRanges(cpus: readonly Cpu[], marks: CpuMarks, width: number, paint: Paint): readonly string[] {
  const byWord = new Map<string, { readonly style: Style | undefined; readonly ids: number[] }>();
  for (const { id } of cpus) {
    const { word, style } = marks.of.get(id) ?? UNKNOWN;
    const entry = byWord.get(word) ?? { style, ids: [] };
    entry.ids.push(id);
    byWord.set(word, entry);
  }
  return [...byWord].flatMap(([word, { style, ids }]) => {
    const label = `${word}: `;
    const lines = foldList(CpuSet.from(ids).toString(), width - label.length);
    return lines.map((line, index) => paint(`${index === 0 ? label : ' '.repeat(label.length)}${line}`, style));
  });
}

/** Breaks a list after commas. */
function foldList(list: string, width: number): readonly string[] {
  const lines: string[] = [];
  let line = '';
  for (const part of list.split(',')) {
    if (line !== '' && line.length + 1 + part.length >= width) {
      lines.push(`${line},`);
      line = part;
    } else line = line === '' ? part : `${line},${part}`;
  }
  return [...lines, line];
}
