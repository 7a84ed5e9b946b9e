// How often the agent is asked what, how long answers take, and what went wrong.
import { status } from '@grpc/grpc-js';
import type { Logger } from 'pino';
import { Histogram, type Registry } from 'prom-client';
import { describeError } from '../../lib/errors.ts';
import { rateLimitedWarnings } from '../log.ts';
import type { FinishedCall } from './call-adapter.ts';

/** A tenth of a millisecond to some seconds: from a question that no feature answers to a slow disk. */
const BUCKETS_SECONDS = [0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2, 10];
const WARNING_INTERVAL_MS = 10_000;

/** @returns what a server calls after each call */
export function recordCalls(registry: Registry, logger: Logger): (call: FinishedCall) => void {
  const seconds = new Histogram({
    name: 'holdfast_grpc_seconds',
    help: 'Time the agent took to answer a gRPC call; the methods of the lifecycle service are the lifecycle steps.',
    labelNames: ['method', 'code'],
    buckets: BUCKETS_SECONDS,
    registers: [registry],
  });
  const warn = rateLimitedWarnings(logger, WARNING_INTERVAL_MS);
  return (call) => {
    const code = status[call.code] ?? String(call.code);
    seconds.observe({ method: call.method, code }, call.seconds);
    if (call.error === undefined || call.code === status.CANCELLED) return;
    // A refusal is an answer, and the same pod is refused again and again; a mistake of ours is not.
    const fields = { method: call.method, code, error: describeError(call.error) };
    if (call.code === status.INTERNAL) logger.error({ ...fields, err: call.error }, 'call failed');
    else warn(`${call.method} ${fields.error}`, fields, 'call refused');
  };
}
