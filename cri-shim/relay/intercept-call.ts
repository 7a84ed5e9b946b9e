// One intercepted call: reads the request, runs its step, answers. What goes wrong on the way becomes a gRPC status.
import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { describeError, HoldfastError } from '../../lib/errors.ts';
import { toStatus } from '../../lib/grpc-status.ts';
import type { AgentClient } from '../agent-client.ts';
import { decompress } from '../grpc/compression.ts';
import { encodeFrame, type UnaryMessage } from '../grpc/frame.ts';
import { formatGrpcTimeout, parseGrpcTimeout } from '../grpc/timeout.ts';
import type { Log } from '../log.ts';
import { createRuntimeQueries } from '../steps/runtime-queries.ts';
import type { StepContext } from '../steps/step.ts';
import type { InterceptedCall } from '../steps/table.ts';
import { type CallAnswer, callBuffered, giveAnswer } from './buffered-call.ts';
import { type Caller, readUnary, watchCaller } from './caller.ts';
import { type RawHeaders, toOutgoing } from './headers.ts';
import type { Upstream } from './upstream.ts';

/** What the calls share. */
export interface CallParts {
  readonly upstream: Upstream;
  readonly agent: AgentClient;
  readonly sharedCpus: () => Promise<string | undefined>;
  readonly log: Log;
}

/** The header block of a request, in Node's view and as it came. */
export interface RequestHeaders {
  readonly parsed: IncomingHttpHeaders;
  readonly raw: RawHeaders;
}

/** Resolves when nothing of the call is under way any more, also when the caller left before that; never rejects. */
export async function interceptCall(
  stream: ServerHttp2Stream,
  headers: RequestHeaders,
  call: InterceptedCall,
  parts: CallParts,
): Promise<void> {
  const method = call.step.method;
  const caller = watchCaller(stream, parseGrpcTimeout(firstOf(headers.parsed['grpc-timeout'])));
  let answer: CallAnswer;
  try {
    const message = await readUnary(stream, caller.signal);
    const bytes = await decompress(message, firstOf(headers.parsed['grpc-encoding']));
    answer = await call.step.run(bytes, createContext(headers, message, call.servicePath, caller, parts));
    if (answer.kind === 'status') parts.log.warn('refused', `${method}: ${answer.status.details}`);
  } catch (error) {
    answer = { kind: 'status', status: toStatus(error) };
    if (error instanceof HoldfastError) parts.log.warn('failed', `${method}: ${describeError(error)}`);
    else if (!caller.signal.aborted) parts.log.error('bug', `${method}: ${stackOf(error)}`);
  } finally {
    caller.release();
  }
  try {
    giveAnswer(stream, answer);
  } catch (error) {
    parts.log.error('bug', `${method} could not be answered: ${stackOf(error)}`);
    stream.destroy();
  }
}

function firstOf(value: string | readonly string[] | undefined): string | undefined {
  return typeof value === 'string' ? value : value?.[0];
}

function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

function createContext(
  { raw }: RequestHeaders,
  message: UnaryMessage,
  servicePath: string,
  caller: Caller,
  { upstream, agent, sharedCpus, log }: CallParts,
): StepContext {
  const { signal } = caller;
  return {
    signal,
    runtime: createRuntimeQueries(upstream, servicePath),
    askBefore: (method, question, limitMs) =>
      agent.ask(method, question, Math.min(limitMs, caller.remainingMs() / 2), signal),
    askAfter: (method, question, limitMs) =>
      agent.ask(method, question, Math.min(limitMs, caller.remainingMs() * 0.75), signal),
    askDetached: (method, question, limitMs) => agent.ask(method, question, limitMs, new AbortController().signal),
    forward: (changed) => {
      const request = toOutgoing(raw);
      // The length was that of the request as it came.
      delete request['content-length'];
      const left = caller.remainingMs();
      if (left !== Number.POSITIVE_INFINITY) request['grpc-timeout'] = formatGrpcTimeout(left);
      return callBuffered(upstream, request, changed === undefined ? message.frame : encodeFrame(changed), signal);
    },
    sharedCpus,
    noteFallback: (subject, agentProblem) =>
      log.warn('fallback', `${subject} went on without the agent: ${agentProblem}`),
    warn: (text) => log.warn('agent', text),
  };
}
