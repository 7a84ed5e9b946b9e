// Questions to the agent. A question ends in one of three ways, and the steps decide what each means.
import type { DescMethod, MessageShape } from '@bufbuild/protobuf';
import { connectivityState, status } from '@grpc/grpc-js';
import { describeError } from '../lib/errors.ts';
import { callUnary, connectUnix, isServiceError } from '../lib/grpc-client.ts';
import type { GrpcStatus } from './relay/answer.ts';

export type UnaryMethod = DescMethod & { readonly methodKind: 'unary' };

export type AgentAnswer<Response> =
  | { readonly kind: 'answered'; readonly response: Response }
  /** The agent says no, and this is what the kubelet gets to read. */
  | { readonly kind: 'refused'; readonly status: GrpcStatus }
  /** No answer: not running, not ready, hanging. What it has done is not known. */
  | { readonly kind: 'away'; readonly reason: string };

export interface AgentClient {
  /**
   * Asks one question.
   * @param timeoutMs - milliseconds until the agent counts as hanging
   * @param signal - the caller's; the promise rejects with its reason
   */
  ask<Method extends UnaryMethod>(
    method: Method,
    question: MessageShape<Method['input']>,
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<AgentAnswer<MessageShape<Method['output']>>>;
  close(): void;
}

/** Codes with which nobody, or nobody ready, has answered. */
const AWAY: readonly number[] = [status.UNAVAILABLE, status.DEADLINE_EXCEEDED, status.CANCELLED];

/** What an error of a question means. Pure. */
export function readFailure(error: unknown, timeoutMs: number): Exclude<AgentAnswer<never>, { kind: 'answered' }> {
  if (!isServiceError(error)) return { kind: 'away', reason: describeError(error) };
  if (!AWAY.includes(error.code)) return { kind: 'refused', status: { code: error.code, details: error.details } };
  const hangs = error.code === status.DEADLINE_EXCEEDED;
  return { kind: 'away', reason: hangs ? `it does not answer within ${timeoutMs} ms` : error.details };
}

/** @param socketPath - of the agent; nothing is connected before the first question */
export function createAgentClient(socketPath: string): AgentClient {
  let client = connectUnix(socketPath);
  /** A channel that failed waits before it tries again, and would miss an agent that is back meanwhile. */
  const reach = () => {
    if (client.getChannel().getConnectivityState(false) === connectivityState.TRANSIENT_FAILURE) {
      client.close();
      client = connectUnix(socketPath);
    }
    return client;
  };
  return {
    async ask(method, question, timeoutMs, signal) {
      try {
        return { kind: 'answered', response: await callUnary(reach(), method, question, { timeoutMs, signal }) };
      } catch (error) {
        signal.throwIfAborted();
        return readFailure(error, timeoutMs);
      }
    },
    close: () => client.close(),
  };
}
