// Requests to the kernel that have to succeed, several of them in one exchange.
import { HoldfastError } from '../../../lib/errors.ts';
import { describeErrno } from '../netlink/message.ts';
import type { Answer, NetlinkSocket, Request } from '../netlink/socket.ts';
import { decodeLink, getLink, type LinkFacts } from './messages/link.ts';

/** include/uapi/asm-generic/errno-base.h, errno.h */
export const ERRNO = { ENOENT: 2, ESRCH: 3, EEXIST: 17, ENODEV: 19 } as const;

export interface Step {
  readonly request: Request;
  /** For the error message: "the address 10.0.0.1 cannot be given to eth0". */
  readonly failure: string;
  /** Error numbers that mean that there is nothing to do. */
  readonly unless?: readonly number[];
}

export function refused(failure: string, { errno, explanation }: Answer): HoldfastError {
  const words = explanation === undefined || explanation === '' ? '' : ` ("${explanation}")`;
  return new HoldfastError('HOST_FAILURE', `${failure}: the kernel says ${describeErrno(errno)}${words}`);
}

/** @throws HoldfastError HOST_FAILURE with the first refusal that is not one of the expected */
export function expectDone(steps: readonly Step[], answers: readonly Answer[]): void {
  for (const [index, { failure, unless = [] }] of steps.entries()) {
    const answer = answers[index];
    if (answer !== undefined && answer.errno !== 0 && !unless.includes(answer.errno)) throw refused(failure, answer);
  }
}

/**
 * Carries the steps out; those behind a refused one are tried, too, because the kernel does not stop there.
 * @throws HoldfastError HOST_FAILURE with the first refusal
 */
export async function perform(
  socket: NetlinkSocket,
  steps: readonly Step[],
  signal: AbortSignal,
): Promise<readonly Answer[]> {
  const answers = await socket.ask(
    steps.map(({ request }) => request),
    signal,
  );
  expectDone(steps, answers);
  return answers;
}

/** @returns undefined when there is no such interface */
export function linkOf(name: string, answer: Answer | undefined): LinkFacts | undefined {
  if (answer === undefined || answer.errno === ERRNO.ENODEV) return undefined;
  const [message] = answer.messages;
  if (answer.errno !== 0 || message === undefined) throw refused(`the interface ${name} cannot be looked at`, answer);
  return decodeLink(message);
}

/** Several interfaces of one namespace by their names; undefined for those that are not there. */
export async function findLinks(
  socket: NetlinkSocket,
  names: readonly string[],
  signal: AbortSignal,
): Promise<readonly (LinkFacts | undefined)[]> {
  const answers = await socket.ask(names.map(getLink), signal);
  return names.map((name, index) => linkOf(name, answers[index]));
}

/** All that a listing has. @param unless - error numbers that mean that there is nothing */
export async function listAll(socket: NetlinkSocket, step: Step, signal: AbortSignal): Promise<Answer['messages']> {
  const [answer] = await perform(socket, [step], signal);
  return answer?.messages ?? [];
}
