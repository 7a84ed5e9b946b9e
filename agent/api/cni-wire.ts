// What the plugin's executable and the agent say to each other on cni.sock, see docs/cni-protocol.md. Bytes come in as the
// socket delivers them; nothing here does I/O.
import { CNI_ERROR, CniError } from '../network/cni/cni-error.ts';
import type { RawCall } from '../network/cni/parse-request.ts';

/** Bytes of what a request may have. The executables keep to the same limits. */
export const MAX_STDIN = 1024 * 1024;
export const MAX_VARIABLES = 64 * 1024;
/** `holdfast-cni/1 65536 1048576` and a line feed, with room. */
const MAX_HEAD = 64;
const LINE_FEED = 0x0a;

export interface Answer {
  /** Of the executable, 0 to 255. */
  readonly exitStatus: number;
  /** What it prints. */
  readonly stdout: string;
}

function malformed(why: string): CniError {
  return new CniError(CNI_ERROR.IO_FAILURE, 'INVALID_REQUEST', `what came on the agent's CNI socket ${why}`);
}

interface Lengths {
  readonly variables: number;
  readonly stdin: number;
}

function parseHead(line: string): Lengths {
  const match = /^holdfast-cni\/1 (\d{1,9}) (\d{1,9})$/.exec(line);
  if (match === null) {
    throw malformed("is not holdfast-cni/1; put the plugin of the agent's version in place (docs/stateful-ip.md)");
  }
  const lengths = { variables: Number(match[1]), stdin: Number(match[2]) };
  if (lengths.variables > MAX_VARIABLES) throw malformed(`has more than ${MAX_VARIABLES} bytes of variables`);
  if (lengths.stdin > MAX_STDIN) throw malformed(`has more than ${MAX_STDIN} bytes of network configuration`);
  return lengths;
}

/** `NAME=value`, each closed by a NUL byte; the first of a name counts, as for getenv(3). */
function parseVariables(bytes: Buffer): ReadonlyMap<string, string> {
  if (bytes.length > 0 && bytes.at(-1) !== 0) throw malformed('has a variable without its end');
  const found = new Map<string, string>();
  // Bytes that are no UTF-8 become replacement characters, which no variable that matters may have.
  for (const variable of bytes.toString('utf8').split('\0').slice(0, -1)) {
    const equals = variable.indexOf('=');
    const name = variable.slice(0, equals);
    if (equals < 0 || !name.startsWith('CNI_')) throw malformed('has a variable that is not CNI_…=…');
    if (!found.has(name)) found.set(name, variable.slice(equals + 1));
  }
  return found;
}

/** Gathers one request. */
export class RequestReader {
  readonly #chunks: Buffer[] = [];
  #length = 0;
  #headLength = 0;
  #lengths: Lengths | undefined;

  /**
   * @returns the request as soon as it is complete
   * @throws CniError 5 when it never can be one, or has more than was announced
   */
  push(chunk: Buffer): RawCall | undefined {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
    this.#lengths ??= this.#readHead();
    if (this.#lengths === undefined) return undefined;
    const { variables, stdin } = this.#lengths;
    const announced = this.#headLength + variables + stdin;
    if (this.#length > announced) throw malformed('is longer than its first line says');
    if (this.#length < announced) return undefined;
    const all = Buffer.concat(this.#chunks);
    const endOfVariables = this.#headLength + variables;
    return {
      variables: parseVariables(all.subarray(this.#headLength, endOfVariables)),
      stdin: all.subarray(endOfVariables),
    };
  }

  #readHead(): Lengths | undefined {
    const head = Buffer.concat(this.#chunks).subarray(0, MAX_HEAD);
    const end = head.indexOf(LINE_FEED);
    if (end < 0 && head.length === MAX_HEAD) throw malformed('has no first line');
    if (end < 0) return undefined;
    this.#headLength = end + 1;
    return parseHead(head.toString('latin1', 0, end));
  }
}

/** The length is for the executable to know whether it has everything: half a result must not be taken for one. */
export function encodeAnswer({ exitStatus, stdout }: Answer): Buffer {
  const bytes = Buffer.from(stdout);
  return Buffer.concat([Buffer.from(`${exitStatus} ${bytes.length}\n`), bytes]);
}
