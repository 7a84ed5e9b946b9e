// Unix sockets of our own: a file left by a dead process is replaced, one of a living process is respected, and nobody
// can connect before the mode is right.
import { lstat, mkdir, unlink } from 'node:fs/promises';
import { connect, type Server } from 'node:net';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { acceptErrors } from './accept-errors.ts';
import { HoldfastError, isErrno } from './errors.ts';
import { withFileLock } from './file-lock.ts';

/** sun_path of unix(7), without its closing NUL (bytes). */
export const MAX_SOCKET_PATH = 107;

function inUse(path: string): HoldfastError {
  return new HoldfastError(
    'PRECONDITION',
    `another process is listening on ${path}; stop it first, or give this one another path`,
  );
}

/** Whether somebody accepts connections there; false also when the file is gone. */
function isAlive(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (cause) => {
      if (isErrno(cause, 'ECONNREFUSED', 'ENOENT')) resolve(false);
      // A listener whose queue is full is alive, too.
      else if (isErrno(cause, 'EAGAIN')) resolve(true);
      else reject(new HoldfastError('HOST_FAILURE', `cannot find out who listens on ${path}`, { cause }));
    });
  });
}

/** Milliseconds in which another start has either finished or failed. */
const LOCK_MS = 5000;
/** Milliseconds from bind to listen in another process, with much room: in between a new socket looks stale. */
const BIRTH_MS = 50;

/**
 * Makes a path free for a socket: creates its directory and removes a socket file that nobody listens on.
 * @throws HoldfastError PRECONDITION when another process listens there or the file is not a socket, HOST_FAILURE when
 *   the kernel refuses
 */
export async function claimSocketPath(path: string): Promise<void> {
  if (Buffer.byteLength(path) > MAX_SOCKET_PATH) {
    throw new HoldfastError(
      'INVALID_REQUEST',
      `${path} is longer than the ${MAX_SOCKET_PATH} bytes of a socket's path`,
    );
  }
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o755 });
    if (await isStale(path)) await withFileLock(`${path}.lock`, LOCK_MS, () => removeStale(path));
  } catch (cause) {
    if (cause instanceof HoldfastError) throw cause;
    throw new HoldfastError('HOST_FAILURE', `cannot prepare the socket ${path}`, { cause });
  }
}

/**
 * @returns false when the path is free
 * @throws HoldfastError PRECONDITION when it is taken
 */
async function isStale(path: string): Promise<boolean> {
  try {
    const found = await lstat(path);
    if (!found.isSocket()) throw new HoldfastError('PRECONDITION', `${path} exists and is not a socket; move it away`);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return false;
    throw error;
  }
  if (await isAlive(path)) throw inUse(path);
  return true;
}

/** Under the lock: a stale socket only ever goes there, so what is found dead twice is not somebody's new one. */
async function removeStale(path: string): Promise<void> {
  if (!(await isStale(path))) return;
  await sleep(BIRTH_MS);
  if (await isStale(path)) await unlink(path);
}

/**
 * Listens on a path that {@link claimSocketPath} makes free first.
 * @param mode - of the socket file; it has it from the first moment on
 * @param onError - a connection could not be accepted, for want of memory or descriptors; the server goes on. Without it,
 *   standard error is told now and then
 * @throws HoldfastError as claimSocketPath
 */
export async function listenUnix(
  server: Server,
  path: string,
  mode: number,
  onError: (error: Error) => void = acceptErrors(path),
): Promise<void> {
  await claimSocketPath(path);
  await new Promise<void>((resolve, reject) => {
    const refuse = (cause: Error): void => {
      const lost = isErrno(cause, 'EADDRINUSE');
      reject(lost ? inUse(path) : new HoldfastError('HOST_FAILURE', `cannot listen on ${path}`, { cause }));
    };
    server.once('error', refuse);
    server.once('listening', () => {
      server.off('error', refuse);
      // An error that nobody listens for would end the process.
      server.on('error', onError);
    });
    // Node binds within this call, so no other file of the process is created under the mask.
    const before = process.umask(0o777 & ~mode);
    try {
      server.listen(path, resolve);
    } finally {
      process.umask(before);
    }
  });
}
