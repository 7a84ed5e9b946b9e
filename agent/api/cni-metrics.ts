// How often the plugin is called, with what outcome, and how long it takes.
import { Counter, Histogram, type Registry } from 'prom-client';
import type { CniCommand } from '../network/cni/parse-environment.ts';

/** From an answer without the kernel's help to an ADD that waits for a conflict probe, or for etcd. */
const BUCKETS_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 100];

export interface FinishedCniCall {
  /** undefined: it could not be read. */
  readonly command: CniCommand | undefined;
  /** CNI's error code; 0 for success. */
  readonly code: number;
  /** From the moment that the request was there. */
  readonly seconds: number;
}

/** @returns what the server calls after each call */
export function recordCniCalls(registry: Registry): (call: FinishedCniCall) => void {
  const calls = new Counter({
    name: 'holdfast_cni_calls_total',
    help: 'Calls of the CNI plugin that reached the agent; code is the error code of CNI, 0 for success.',
    labelNames: ['command', 'code'],
    registers: [registry],
  });
  const seconds = new Histogram({
    name: 'holdfast_cni_seconds',
    help: 'Time the agent took for a call of the CNI plugin.',
    labelNames: ['command'],
    buckets: BUCKETS_SECONDS,
    registers: [registry],
  });
  return (call) => {
    calls.inc({ command: call.command ?? 'unknown', code: String(call.code) });
    // What could not be read took no time of interest.
    if (call.command !== undefined) seconds.observe({ command: call.command }, call.seconds);
  };
}
