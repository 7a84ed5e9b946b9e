// What an intercepted CRI call is, and what it may use. A step only decides and asks; the server has the streams.
import { type DescMethod, fromBinary, type MessageShape } from '@bufbuild/protobuf';
import { describeError, HoldfastError } from '../../lib/errors.ts';
import type { AgentAnswer, UnaryMethod } from '../agent-client.ts';
import type { CallAnswer } from '../relay/buffered-call.ts';
import type { RuntimeQueries } from './runtime-queries.ts';

export interface StepContext {
  /** Aborted when the caller gives up or its deadline passes; every wait below ends with it. */
  readonly signal: AbortSignal;
  /** Questions about what the agent would know, on the service that the caller used. */
  readonly runtime: RuntimeQueries;
  /**
   * Asks the agent before the call goes on; never longer than half of what the caller still waits, so that a hanging
   * agent leaves the runtime its time.
   * @param limitMs - milliseconds
   */
  askBefore<Method extends UnaryMethod>(
    method: Method,
    question: MessageShape<Method['input']>,
    limitMs: number,
  ): Promise<AgentAnswer<MessageShape<Method['output']>>>;
  /**
   * Asks the agent after the runtime has done its part; never longer than three quarters of what the caller still
   * waits, so that there is time to answer.
   */
  askAfter<Method extends UnaryMethod>(
    method: Method,
    question: MessageShape<Method['input']>,
    limitMs: number,
  ): Promise<AgentAnswer<MessageShape<Method['output']>>>;
  /** Asks the agent whether or not the caller is still there: for what must be put in order behind it. */
  askDetached<Method extends UnaryMethod>(
    method: Method,
    question: MessageShape<Method['input']>,
    limitMs: number,
  ): Promise<AgentAnswer<MessageShape<Method['output']>>>;
  /**
   * Sends the call to the runtime with what is left of the caller's deadline.
   * @param changed - the changed request; without it the bytes go on as they came
   */
  forward(changed?: Uint8Array): Promise<CallAnswer>;
  /** The shared CPU mask in the kernel's list format, as the agent last published it. */
  sharedCpus(): Promise<string | undefined>;
  /** Counts and logs that something went on without the agent. */
  noteFallback(subject: string, agentProblem: string): void;
  /** Logs what does not change the call's outcome. */
  warn(message: string): void;
}

export interface Step {
  /** Name of the CRI method. */
  readonly method: string;
  /** @throws HoldfastError INVALID_REQUEST when the message is not the method's request */
  run(message: Uint8Array, context: StepContext): Promise<CallAnswer>;
}

/** Milliseconds that the agent may take where it only looks things up. */
export const QUICK_MS = 2000;
/** Milliseconds for planning a placement. */
export const PLANNING_MS = 5000;
/** Milliseconds for moving or keeping a layer, which may stop a container first. */
export const LAYER_MS = 15_000;

/** A step of the CRI method, with its request decoded. */
export function defineStep<Method extends DescMethod>(
  method: Method,
  handle: (request: MessageShape<Method['input']>, context: StepContext) => Promise<CallAnswer>,
): Step {
  const decode = (message: Uint8Array): MessageShape<Method['input']> => {
    try {
      return fromBinary<Method['input']>(method.input, message);
    } catch (cause) {
      const text = `the message is not a ${method.input.typeName} (${describeError(cause)})`;
      throw new HoldfastError('INVALID_REQUEST', text);
    }
  };
  return { method: method.name, run: async (message, context) => handle(decode(message), context) };
}
