// Text of others for the terminal: names come from other hosts, and from files of other machines. Pure.
import { describeError, HoldfastError } from '../../lib/errors.ts';
import { isServiceError } from '../../lib/grpc-client.ts';

/** Without control characters (C0, DEL, C1): a name could move the cursor, or write what nobody said. */
export function printable(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, '\ufffd');
}

/** At most so many characters; `…` says that some are missing. */
export function shorten(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`;
}

/** The same error with a text for the terminal: it may quote an agent's answer or a file. */
export function printableError(error: unknown): unknown {
  if (!(error instanceof HoldfastError)) return error;
  // What an agent answered is in the message already; any other cause belongs to what is printed.
  const { cause } = error;
  if (isServiceError(cause)) return new HoldfastError(error.code, printable(error.message), { cause });
  return new HoldfastError(error.code, printable(describeError(error)));
}
