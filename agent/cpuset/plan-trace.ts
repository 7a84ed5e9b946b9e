// The planner over a list of operations, one JSON line each: what `holdfast plan --trace` runs. Pure.
import { z } from 'zod';
import { HoldfastError } from '../../lib/errors.ts';
import type { CpuSet } from '../model/cpu-set.ts';
import type { HostTopology } from '../model/host-topology.ts';
import { podUid } from '../model/ids.ts';
import { bytes, milliCpu } from '../model/quantity.ts';
import { Ledger } from './ledger.ts';
import { buildMachine } from './machine.ts';
import { planPod } from './plan-pod.ts';
import { askOf } from './pod-asks.ts';
import type { PlanRules } from './room.ts';

const id = z.string().min(1).max(253);
const line = z.discriminatedUnion('op', [
  z.strictObject({
    op: z.literal('alloc'),
    id,
    /** CPUs; a fraction only when shared. */
    cpus: z.number().min(0).max(1_000_000).default(0),
    memoryBytes: z.number().int().min(0).default(0),
    cpuset: z.enum(['shared', 'exclusive']).default('shared'),
    numa: z.enum(['none', 'preferred', 'required']).default('none'),
    /** Bytes by page size in bytes. */
    hugepages: z.record(z.string().regex(/^\d{1,15}$/), z.number().int().min(0)).default({}),
  }),
  z.strictObject({ op: z.literal('free'), id }),
]);

export type TraceOperation = z.output<typeof line>;

/** What one operation came to; printed as a line of JSON. */
export type TraceResult =
  | {
      readonly op: 'alloc';
      readonly id: string;
      readonly ok: true;
      /** What the container would run on: its own CPUs, or the shared pool as it is now. */
      readonly cpus: string;
      /** Empty when it is bound to no memory node. */
      readonly mems: string;
      readonly note?: string;
    }
  | { readonly op: 'free'; readonly id: string; readonly ok: true }
  | { readonly op: 'alloc' | 'free'; readonly id: string; readonly ok: false; readonly reason: string };

/**
 * @param number - of the line, counted from 1
 * @throws HoldfastError INVALID_REQUEST naming the line and what is wrong with it
 */
export function parseTraceLine(text: string, number: number): TraceOperation {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new HoldfastError('INVALID_REQUEST', `line ${number} is not JSON`, { cause });
  }
  const parsed = line.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const where = issue === undefined || issue.path.length === 0 ? '' : ` ${issue.path.join('.')}:`;
  throw new HoldfastError(
    'INVALID_REQUEST',
    `line ${number} is not an operation such as {"op":"alloc","id":"a","cpus":4,"memoryBytes":0,"cpuset":"exclusive","numa":"required"} or {"op":"free","id":"a"}:${where} ${issue?.message ?? 'unknown shape'}`,
  );
}

/** A host on which nothing is placed yet; each operation builds on those before. */
export function startTrace(
  topology: HostTopology,
  reservedCpus: CpuSet,
  rules: PlanRules,
): (operation: TraceOperation) => TraceResult {
  const ledger = new Ledger(buildMachine(topology, reservedCpus), rules);
  return (operation) => runOperation(ledger, operation);
}

function runOperation(ledger: Ledger, operation: TraceOperation): TraceResult {
  const { op } = operation;
  const refuse = (reason: string): TraceResult => ({ op, id: operation.id, ok: false, reason });
  const uid = podUid(operation.id);
  if (op === 'free') {
    if (ledger.get(uid) === undefined) return refuse(`nothing is allocated under ${operation.id}`);
    ledger.delete(uid);
    return { op, id: operation.id, ok: true };
  }
  if (ledger.get(uid) !== undefined) return refuse(`${operation.id} is allocated already; free it first`);
  const { cpus, memoryBytes, cpuset, numa } = operation;
  const milli = milliCpu(Math.round(cpus * 1000));
  const hugepages = new Map(Object.entries(operation.hugepages).map(([size, amount]) => [Number(size), bytes(amount)]));
  const policy = { restart: 'rebuild', cpuset, numa, numaScope: 'pod' } as const;
  try {
    const need = { cpuRequest: milli, cpuLimit: milli, memoryRequest: bytes(memoryBytes), hugepages };
    const ask = askOf(operation.id, 'app', policy, need);
    const pod = { uid, namespace: 'trace', name: operation.id, numa };
    const plan = planPod(ledger.room, pod, { basis: 'spec', containers: [ask] });
    if (!plan.ok) return refuse(plan.reason);
    ledger.set(plan.holding);
    const seat = ledger.seatOf(uid, operation.id);
    const { note } = plan.holding;
    return {
      op,
      id: operation.id,
      ok: true,
      cpus: seat.cpus.toString(),
      mems: ledger.memsOf(seat.nodes).toString(),
      ...(note === undefined ? {} : { note }),
    };
  } catch (error) {
    if (error instanceof HoldfastError && error.code === 'INVALID_REQUEST') return refuse(error.message);
    throw error;
  }
}
