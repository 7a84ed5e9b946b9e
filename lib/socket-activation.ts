// systemd socket activation: listening sockets inherited from the service manager (sd_listen_fds(3)).
import type { Server } from 'node:net';
import { acceptErrors } from './accept-errors.ts';
import { HoldfastError } from './errors.ts';

/** The first inherited descriptor, fixed by sd_listen_fds(3). */
const FIRST_FD = 3;

/**
 * The listening descriptors that were passed to this very process.
 * @param env - LISTEN_FDS and LISTEN_PID; variables meant for another process are ignored
 * @throws HoldfastError INVALID_REQUEST when LISTEN_FDS is not a number
 */
export function inheritedSockets(env: NodeJS.ProcessEnv, pid: number): readonly number[] {
  const count = env['LISTEN_FDS'];
  if (count === undefined || env['LISTEN_PID'] !== String(pid)) return [];
  if (!/^\d{1,3}$/.test(count)) {
    throw new HoldfastError('INVALID_REQUEST', `LISTEN_FDS is "${count}", which is not a number of sockets`);
  }
  return Array.from({ length: Number(count) }, (_, index) => FIRST_FD + index);
}

/**
 * Listens on an inherited socket. Its file belongs to the service manager and stays when the server is closed.
 * @throws HoldfastError PRECONDITION when the descriptor is not a listening socket
 */
export function listenInherited(server: Server, fd: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const onError = (cause: unknown): void => {
      reject(new HoldfastError('PRECONDITION', `file descriptor ${fd} is not a listening socket`, { cause }));
    };
    server.once('error', onError);
    server.listen({ fd }, () => {
      server.removeListener('error', onError);
      server.on('error', acceptErrors(`file descriptor ${fd}`));
      resolve();
    });
  });
}
