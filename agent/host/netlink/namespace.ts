// Network namespaces by their files, and work of the main thread inside one. The thread is in the foreign namespace for the
// length of one synchronous function only: what it opens there (a socket, a file of /proc/sys/net) stays of that namespace.
import { closeSync, constants, fstatSync, openSync, statfsSync, writeSync } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { HoldfastError } from '../../../lib/errors.ts';
import { type Libc, loadLibc } from './libc.ts';
import { describeErrno } from './message.ts';

/** include/uapi/linux/magic.h */
const NSFS_MAGIC = 0x6e736673;
/** include/uapi/linux/nsfs.h */
const NS_GET_NSTYPE = 0xb703;
const CLONE_NEWNET = 0x40000000;
const OWN = '/proc/thread-self/ns/net';

export interface NetworkNamespace {
  readonly path: string;
  /** Of the namespace's file, for IFLA_NET_NS_FD; valid until it is closed. */
  readonly fd: number;
  /** Runs `work` in the namespace. It must be synchronous. @throws HoldfastError HOST_FAILURE when it cannot be entered */
  run<Result>(work: () => Result): Result;
  isSameAs(other: NetworkNamespace): boolean;
  close(): Promise<void>;
}

/** The thread must not go on in another's namespace: whatever it opened from now on would be of the wrong one. */
function abort(why: string): never {
  try {
    writeSync(2, `holdfast: this thread cannot return to its own network namespace (${why}); ending at once\n`);
  } finally {
    process.abort();
  }
}

function runInside<Result>(libc: Libc, fd: number, path: string, work: () => Result): Result {
  const own = openSync(OWN, 'r');
  try {
    const entered = libc.setNamespace(fd, CLONE_NEWNET);
    if (entered < 0) {
      throw new HoldfastError(
        'HOST_FAILURE',
        `the network namespace ${path} cannot be entered: ${describeErrno(-entered)}`,
      );
    }
    try {
      const result = work();
      if (result instanceof Promise) throw new HoldfastError('BUG', 'what runs in a network namespace must not wait');
      return result;
    } finally {
      const returned = libc.setNamespace(own, CLONE_NEWNET);
      if (returned < 0) abort(describeErrno(-returned));
    }
  } finally {
    closeSync(own);
  }
}

function isNamespace(libc: Libc, fd: number): boolean {
  // The request of ioctl would mean something else to another driver: only files of the kernel's own are asked.
  return statfsSync(`/proc/self/fd/${fd}`).type === NSFS_MAGIC && libc.control(fd, NS_GET_NSTYPE) === CLONE_NEWNET;
}

/**
 * Opens a network namespace by its path.
 * @throws HoldfastError INVALID_REQUEST when there is none
 */
export async function openNetworkNamespace(path: string): Promise<NetworkNamespace> {
  const libc = await loadLibc();
  let file: FileHandle;
  try {
    // To open a device may do something, and namespaces are plain files.
    if (!(await stat(path)).isFile()) throw new HoldfastError('INVALID_REQUEST', 'it is not a plain file');
    // O_NONBLOCK: a pipe in its place must not make us wait for its other end.
    file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch (cause) {
    throw new HoldfastError('INVALID_REQUEST', `the network namespace ${path} cannot be opened`, { cause });
  }
  try {
    if (!isNamespace(libc, file.fd)) {
      throw new HoldfastError('INVALID_REQUEST', `${path} is not a network namespace`);
    }
    return fromFile(libc, file, path);
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** The namespace that this process is in. */
export async function openOwnNetworkNamespace(): Promise<NetworkNamespace> {
  const libc = await loadLibc();
  const namespace = fromFile(libc, await open(OWN, 'r'), OWN);
  return { ...namespace, run: (work) => work() };
}

function fromFile(libc: Libc, file: FileHandle, path: string): NetworkNamespace {
  const { fd } = file;
  return {
    path,
    fd,
    run: (work) => runInside(libc, fd, path, work),
    isSameAs: (other) => {
      const [one, two] = [fstatSync(fd), fstatSync(other.fd)];
      return one.dev === two.dev && one.ino === two.ino;
    },
    close: () => file.close(),
  };
}
