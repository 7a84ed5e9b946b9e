// sd_notify(3): tells systemd that the service is ready, stopping, or still alive. Node has no datagram unix sockets,
// so libc's are called; the library for that is only loaded where systemd asks to be told.
import { HoldfastError } from './errors.ts';

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;

export interface ServiceManager {
  /** The service does its work from now on. */
  ready(): void;
  stopping(): void;
  /** Ends the pings of the watchdog. */
  close(): void;
}

const SILENT: ServiceManager = { ready: () => {}, stopping: () => {}, close: () => {} };

/**
 * Milliseconds between two pings: half of what systemd waits (sd_watchdog_enabled(3)).
 * @returns undefined when this process is not watched
 */
export function watchdogIntervalMs(env: NodeJS.ProcessEnv, pid: number): number | undefined {
  const microseconds = Number(env['WATCHDOG_USEC']);
  if (!Number.isSafeInteger(microseconds) || microseconds <= 0) return undefined;
  const watched = env['WATCHDOG_PID'];
  if (watched !== undefined && watched !== String(pid)) return undefined;
  return Math.max(1, Math.floor(microseconds / 2000));
}

/**
 * The `sockaddr_un` of NOTIFY_SOCKET.
 * @throws HoldfastError UNSUPPORTED for addresses that are neither a path nor an abstract name
 */
export function notifyAddress(socket: string): Buffer {
  const family = Buffer.alloc(2);
  family.writeUInt16LE(AF_UNIX);
  if (socket.startsWith('/')) return Buffer.concat([family, Buffer.from(`${socket}\0`)]);
  if (socket.startsWith('@')) return Buffer.concat([family, Buffer.from(`\0${socket.slice(1)}`)]);
  throw new HoldfastError('UNSUPPORTED', `NOTIFY_SOCKET is "${socket}"; a path or an abstract socket was expected`);
}

async function openSender(socket: string): Promise<(state: string) => void> {
  const address = notifyAddress(socket);
  const { default: koffi } = await import('koffi');
  const libc = koffi.load(null);
  const openSocket = libc.func('int socket(int domain, int type, int protocol)');
  const sendTo = libc.func(
    'long sendto(int fd, const void *data, size_t length, int flags, const void *address, uint32_t addressLength)',
  );
  const fd: unknown = openSocket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (typeof fd !== 'number' || fd < 0) {
    throw new HoldfastError('HOST_FAILURE', `cannot open a socket for ${socket} (errno ${koffi.errno()})`);
  }
  return (state) => {
    const data = Buffer.from(state);
    const sent: unknown = sendTo(fd, data, data.length, MSG_DONTWAIT | MSG_NOSIGNAL, address, address.length);
    if (Number(sent) < 0) {
      throw new HoldfastError('HOST_FAILURE', `cannot send "${state}" to ${socket} (errno ${koffi.errno()})`);
    }
  };
}

/**
 * @param env - NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID; without the first, nothing is ever sent
 * @param onProblem - told of what could not be sent; the service goes on
 */
export async function connectServiceManager(
  env: NodeJS.ProcessEnv,
  onProblem: (error: unknown) => void,
): Promise<ServiceManager> {
  const socket = env['NOTIFY_SOCKET'];
  if (socket === undefined || socket === '') return SILENT;
  let send: (state: string) => void;
  try {
    send = await openSender(socket);
  } catch (error) {
    onProblem(error);
    return SILENT;
  }
  const notify = (state: string): void => {
    try {
      send(state);
    } catch (error) {
      onProblem(error);
    }
  };
  const interval = watchdogIntervalMs(env, process.pid);
  let pings: NodeJS.Timeout | undefined;
  return {
    ready: () => {
      notify(`READY=1\nMAINPID=${process.pid}`);
      if (interval !== undefined) pings ??= setInterval(() => notify('WATCHDOG=1'), interval).unref();
    },
    stopping: () => notify('STOPPING=1'),
    close: () => clearInterval(pings),
  };
}
