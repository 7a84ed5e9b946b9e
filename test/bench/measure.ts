// Measuring two sides of a comparison in one run, interleaved so that whatever else the machine does hits both alike.
import { readFile } from 'node:fs/promises';
import { performance } from 'node:perf_hooks';
import { formatTable } from '../../agent/cli/output.ts';

/** Milliseconds, one per repetition. */
export type Samples = readonly number[];

export interface Comparison {
  readonly subject: string;
  readonly baseline: Samples;
  readonly holdfast: Samples;
}

/** USER_HZ, which Linux has fixed for what it tells programs. */
const CLOCK_TICKS_PER_SECOND = 100;

/** User and system time of a process, in seconds (proc(5), fields 14 and 15 of stat). */
export async function cpuSeconds(pid: number): Promise<number> {
  const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).replace(/^.*\) /, '').split(' ');
  return (Number(fields[11]) + Number(fields[12])) / CLOCK_TICKS_PER_SECOND;
}

/** How long `work` takes, in milliseconds. */
export async function time(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

/** The smallest sample that at least `share` (0–1) of all samples do not exceed. */
export function quantile(samples: Samples, share: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(share * sorted.length) - 1))] ?? Number.NaN;
}

/**
 * Runs both sides alternately; which goes first changes with every repetition.
 * @param warmUp - repetitions of both that are not counted
 */
export async function compare(
  subject: string,
  sides: { readonly baseline: () => Promise<unknown>; readonly holdfast: () => Promise<unknown> },
  repetitions: number,
  warmUp = Math.ceil(repetitions / 10),
): Promise<Comparison> {
  const baseline: number[] = [];
  const holdfast: number[] = [];
  for (let index = -warmUp; index < repetitions; index += 1) {
    const first = index % 2 === 0 ? ('baseline' as const) : ('holdfast' as const);
    for (const side of first === 'baseline'
      ? (['baseline', 'holdfast'] as const)
      : (['holdfast', 'baseline'] as const)) {
      const took = await time(sides[side]);
      if (index >= 0) (side === 'baseline' ? baseline : holdfast).push(took);
    }
  }
  return { subject, baseline, holdfast };
}

const milliseconds = (value: number): string => `${value.toFixed(value < 10 ? 3 : 1)} ms`;

/** A line per comparison: both sides at p50 and p99, what Holdfast adds at p50, and the ratios. */
export function formatComparisons(
  headings: { readonly baseline: string; readonly holdfast: string },
  comparisons: readonly Comparison[],
): string {
  const rows = comparisons.map(({ subject, baseline, holdfast }) => {
    const [basic50, basic99] = [quantile(baseline, 0.5), quantile(baseline, 0.99)];
    const [ours50, ours99] = [quantile(holdfast, 0.5), quantile(holdfast, 0.99)];
    return [
      subject,
      String(holdfast.length),
      milliseconds(basic50),
      milliseconds(ours50),
      milliseconds(ours50 - basic50),
      `${(ours50 / basic50).toFixed(3)} ×`,
      milliseconds(basic99),
      milliseconds(ours99),
      `${(ours99 / basic99).toFixed(3)} ×`,
    ];
  });
  const { baseline, holdfast } = headings;
  return formatTable(
    [
      'what',
      'n',
      `${baseline} p50`,
      `${holdfast} p50`,
      'added p50',
      'ratio p50',
      `${baseline} p99`,
      `${holdfast} p99`,
      'ratio p99',
    ],
    rows,
  );
}
