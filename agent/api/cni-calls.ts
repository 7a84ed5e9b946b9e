// One call of the CNI plugin: read, handed to the feature, and answered in CNI's JSON, whatever comes of it.
import { describeError, HoldfastError } from '../../lib/errors.ts';
import { CNI_ERROR, cniCodeOf } from '../network/cni/cni-error.ts';
import { formatAttached, formatError } from '../network/cni/format-answer.ts';
import { type CniCommand, findCommand } from '../network/cni/parse-environment.ts';
import { type CniRequest, parseCall, type RawCall } from '../network/cni/parse-request.ts';
import type { CniHandler } from '../network/cni/request.ts';
import { type CniVersion, NEWEST_VERSION } from '../network/cni/versions.ts';
import type { Answer } from './cni-wire.ts';

export interface FinishedCall {
  readonly answer: Answer;
  readonly command: CniCommand | undefined;
  /** CNI's error code; 0 for success. */
  readonly code: number;
  /** What the answer tells; absent after a success. */
  readonly error?: unknown;
}

/**
 * For the signal of a handler whose time is up, or whose caller is gone.
 * @param seconds - that it had
 */
export function abortReason(why: 'deadline' | 'gone' | 'closing', seconds = 0): HoldfastError {
  if (why === 'deadline') return new HoldfastError('DEADLINE', `not done within ${seconds} s; it will be tried again`);
  const text = why === 'gone' ? 'the runtime has ended the plugin' : 'the agent is stopping; try again';
  return new HoldfastError('UNAVAILABLE', text);
}

/**
 * Whoever gives up throws the signal's reason, or an error of that name from Node.js or a library.
 * @returns what to tell of what a handler threw
 */
function told(error: unknown, signal: AbortSignal): unknown {
  const gaveUp = error instanceof Error && (error.name === 'AbortError' || error.name === 'TimeoutError');
  return gaveUp && signal.aborted ? signal.reason : error;
}

/** STATUS has codes of its own: "try again" is for calls that change something (specification, section 2, "STATUS"). */
function codeFor(command: CniCommand | undefined, error: unknown): number {
  const code = cniCodeOf(error);
  return command === 'STATUS' && code === CNI_ERROR.TRY_AGAIN_LATER ? CNI_ERROR.NOT_AVAILABLE : code;
}

/** A collection goes on after an error, and so may have several: the first decides on the code, the details have all. */
function summarise(failed: AggregateError): unknown {
  const errors: readonly unknown[] = failed.errors;
  const [first] = errors;
  if (!(first instanceof HoldfastError)) return failed;
  const text = `${errors.length} stale attachments could not be freed, the others were: ${first.message}`;
  return new HoldfastError(first.code, text, { cause: errors.slice(1).map(describeError).join('; ') || first.cause });
}

async function handle(
  handler: CniHandler,
  request: CniRequest,
  version: CniVersion,
  signal: AbortSignal,
): Promise<string> {
  switch (request.command) {
    case 'ADD':
      return formatAttached(version, await handler.add(request, signal));
    case 'DEL':
      await handler.del(request, signal).catch((error: unknown) => {
        // What is not there needs no deletion.
        if (!(error instanceof HoldfastError) || cniCodeOf(error) !== CNI_ERROR.UNKNOWN_CONTAINER) throw error;
      });
      return '';
    case 'CHECK':
      await handler.check(request, signal);
      return '';
    case 'GC':
      await handler.gc(request, signal).catch((error: unknown) => {
        throw error instanceof AggregateError ? summarise(error) : error;
      });
      return '';
    case 'STATUS':
      await handler.status(request, signal);
      return '';
  }
}

/** @param version - for the answer, which is an error in CNI's JSON */
export function refuseCall(version: string, command: CniCommand | undefined, error: unknown): FinishedCall {
  const code = codeFor(command, error);
  return { answer: { exitStatus: 1, stdout: formatError(version, error, code) }, command, code, error };
}

/** Whether the work is worth finishing when nobody waits for its answer: what is freed needs not be asked for again. */
export function outlivesCaller(call: RawCall): boolean {
  const command = findCommand(call.variables);
  return command === 'DEL' || command === 'GC';
}

/** Never rejects. */
export async function answerCall(handler: CniHandler, call: RawCall, signal: AbortSignal): Promise<FinishedCall> {
  let version: string = NEWEST_VERSION;
  let command = findCommand(call.variables);
  try {
    const parsed = parseCall(call);
    ({ version, command } = parsed.outcome === 'request' ? { ...parsed, ...parsed.request } : parsed);
    if (parsed.outcome === 'refused') throw parsed.error;
    const stdout = await handle(handler, parsed.request, parsed.version, signal);
    return { answer: { exitStatus: 0, stdout }, command, code: 0 };
  } catch (thrown) {
    return refuseCall(version, command, told(thrown, signal));
  }
}

/** For a handler that does not return although its signal has aborted: the caller waits no longer. */
export function giveUpCall(call: RawCall, signal: AbortSignal): FinishedCall {
  return refuseCall(parseCall(call).version, findCommand(call.variables), signal.reason);
}

/** @param most - calls that the agent takes at a time */
export function tooMany(most: number): HoldfastError {
  return new HoldfastError('UNAVAILABLE', `${most} calls of the CNI plugin are under way already; try again`);
}
