// The CNI plugin: takes its call to the agent and prints what the agent answers. It runs once per call and sandbox, so it
// loads next to nothing; launcher.c does the same, sooner. What both say to the agent is in docs/cni-protocol.md.
import net from 'node:net';
import process from 'node:process';

const SUPPORTED_VERSIONS = ['0.4.0', '1.0.0', '1.1.0'];
const NEWEST_VERSION = '1.1.0';
const DEFAULT_SOCKET = '/run/holdfast/cni.sock';
/** sun_path of unix(7), without its closing NUL (bytes). */
const MAX_SOCKET_PATH = 107;
/** Bytes; the agent takes no more. */
const MAX_VARIABLES = 64 * 1024;
const MAX_STDIN = 1024 * 1024;
const MAX_ANSWER = 1024 * 1024;
/** A little longer than the agent gives itself. */
const DEFAULT_TIMEOUT_SECONDS = 100;
/** Until a connection is tried again while the agent's queue of connections is full. */
const CONNECT_INTERVAL_MS = 20;

/** Codes of errors, CNI specification 1.1.0, section 5. */
const INVALID_ENVIRONMENT = 4;
const IO_FAILURE = 5;
const INVALID_CONFIG = 7;
const TRY_AGAIN_LATER = 11;

class Failure extends Error {
  readonly code: number;
  readonly details: string | undefined;

  constructor(code: number, message: string, details?: string) {
    super(message);
    this.code = code;
    this.details = details;
  }
}

function away(socketPath: string, why: string): Failure {
  const text = 'holdfast UNAVAILABLE: the agent does not answer; try again later, and see that "holdfast agent" runs';
  return new Failure(TRY_AGAIN_LATER, text, `${socketPath}: ${why}`);
}

/** Standard output is the only thing that the runtime reads; a pipe is written to synchronously. */
function finish(exitStatus: number, stdout: string | Uint8Array): void {
  process.stdout.once('error', () => process.exit(1));
  process.stdout.write(stdout, () => process.exit(exitStatus));
}

function fail(version: string, { code, message, details }: Failure): void {
  finish(1, JSON.stringify({ cniVersion: version, code, msg: message, ...(details === undefined ? {} : { details }) }));
}

/** The variables of CNI, each closed by a NUL byte. */
function variables(): Buffer {
  const ours = Object.entries(process.env).filter(([name]) => name.startsWith('CNI_'));
  const bytes = Buffer.from(ours.map(([name, value = '']) => `${name}=${value}\0`).join(''));
  if (bytes.length <= MAX_VARIABLES) return bytes;
  throw new Failure(INVALID_ENVIRONMENT, `holdfast INVALID_REQUEST: CNI_… have more than ${MAX_VARIABLES} bytes`);
}

function socketPath(): string {
  const path = process.env['HOLDFAST_CNI_SOCKET'] || DEFAULT_SOCKET;
  if (Buffer.byteLength(path) <= MAX_SOCKET_PATH) return path;
  const text = `holdfast INVALID_REQUEST: HOLDFAST_CNI_SOCKET is longer than ${MAX_SOCKET_PATH} bytes`;
  throw new Failure(INVALID_ENVIRONMENT, text);
}

function timeoutMs(): number {
  const text = process.env['HOLDFAST_CNI_TIMEOUT'] ?? '';
  return (/^[1-9]\d{0,3}$/.test(text) ? Number(text) : DEFAULT_TIMEOUT_SECONDS) * 1000;
}

async function readStdin(): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      length += chunk.length;
      if (length > MAX_STDIN) break;
    }
  } catch (error) {
    throw new Failure(IO_FAILURE, 'holdfast HOST_FAILURE: cannot read standard input', String(error));
  }
  if (length <= MAX_STDIN) return Buffer.concat(chunks);
  const text = `holdfast INVALID_REQUEST: the network configuration has more than ${MAX_STDIN} bytes`;
  throw new Failure(INVALID_CONFIG, text);
}

/** The version that an answer must be in: that of the configuration, where there is one. */
function versionOf(stdin: Buffer): string {
  try {
    const { cniVersion } = Object(JSON.parse(stdin.toString())) as { readonly cniVersion?: unknown };
    if (typeof cniVersion === 'string' && /^\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(cniVersion)) return cniVersion;
  } catch {
    // The agent says what is wrong with it.
  }
  return NEWEST_VERSION;
}

/** The socket, connected; tried again while the agent has connections to accept and no room for more. */
function connect(path: string): Promise<net.Socket> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(path);
    socket.once('connect', () => resolve(socket));
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EAGAIN') reject(away(path, error.code ?? error.message));
      else setTimeout(() => resolve(connect(path)), CONNECT_INTERVAL_MS);
    });
  });
}

/** A whole answer; undefined while there is none yet. */
function parseAnswer(bytes: Buffer): { readonly exitStatus: number; readonly stdout: Buffer } | undefined {
  const head = /^(\d{1,3}) (\d{1,7})\n/.exec(bytes.toString('latin1', 0, 16));
  const [exitStatus, length] = [Number(head?.[1]), Number(head?.[2])];
  if (head === null || exitStatus > 255 || length > MAX_ANSWER) return undefined;
  const stdout = bytes.subarray(head[0].length);
  return stdout.length < length ? undefined : { exitStatus, stdout: stdout.subarray(0, length) };
}

/** The connection stays open in both directions until the answer is there: its end tells the agent that nobody waits. */
async function ask(path: string, vars: Buffer, stdin: Buffer): Promise<ReturnType<typeof parseAnswer>> {
  const socket = await connect(path);
  const chunks: Buffer[] = [];
  // What counts is whether the answer is whole, not how the connection ended.
  socket.on('error', () => {});
  return new Promise((resolve, reject) => {
    let length = 0;
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      length += chunk.length;
      const answer = parseAnswer(Buffer.concat(chunks));
      if (answer !== undefined) resolve(answer);
      else if (length > MAX_ANSWER + 16) socket.destroy();
    });
    socket.once('close', () => reject(away(path, 'the connection closed before the answer was complete')));
    socket.write(Buffer.concat([Buffer.from(`holdfast-cni/1 ${vars.length} ${stdin.length}\n`), vars, stdin]));
  });
}

let version = NEWEST_VERSION;
try {
  const path = socketPath();
  const limit = timeoutMs();
  setTimeout(() => fail(version, away(path, 'no answer in time')), limit);
  const stdin = await readStdin();
  version = versionOf(stdin);
  if (process.env['CNI_COMMAND'] === 'VERSION') {
    finish(0, JSON.stringify({ cniVersion: version, supportedVersions: SUPPORTED_VERSIONS }));
  } else {
    const answer = await ask(path, variables(), stdin);
    if (answer !== undefined) finish(answer.exitStatus, answer.stdout);
  }
} catch (error) {
  const known = error instanceof Failure;
  fail(version, known ? error : new Failure(IO_FAILURE, 'holdfast BUG: a mistake in the plugin', String(error)));
}
