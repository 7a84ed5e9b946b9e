// Sockets as a service manager has them, which Node cannot make: one that listens without accepting, one for datagrams.
import koffi from 'koffi';
import { notifyAddress } from '../../../../lib/systemd-notify.ts';

const libc = koffi.load(null);
const openSocket = libc.func('int socket(int domain, int type, int protocol)');
const bindSocket = libc.func('int bind(int fd, const void *address, uint32_t length)');
const listenSocket = libc.func('int listen(int fd, int backlog)');
const receive = libc.func('long recv(int fd, _Out_ void *data, size_t length, int flags)');
const closeSocket = libc.func('int close(int fd)');

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_DONTWAIT = 0x40;

function bound(path: string, type: number): number {
  const fd = Number(openSocket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  const address = notifyAddress(path);
  if (fd < 0 || Number(bindSocket(fd, address, address.length)) !== 0) {
    throw new Error(`cannot bind ${path}: errno ${koffi.errno()}`);
  }
  return fd;
}

/** A listening descriptor; connections wait until another process accepts them. */
export function listenOnly(path: string): { readonly fd: number; close(): void } {
  const fd = bound(path, SOCK_STREAM);
  if (Number(listenSocket(fd, 16)) !== 0) throw new Error(`cannot listen: errno ${koffi.errno()}`);
  return { fd, close: () => closeSocket(fd) };
}

/** A datagram socket; `take` returns what has arrived since the last time. */
export function receiveDatagrams(path: string): { take(): string[]; close(): void } {
  const fd = bound(path, SOCK_DGRAM);
  const buffer = Buffer.alloc(4096);
  return {
    take: () => {
      const messages: string[] = [];
      for (;;) {
        const length = Number(receive(fd, buffer, buffer.length, MSG_DONTWAIT));
        if (length < 0) return messages;
        messages.push(buffer.subarray(0, length).toString());
      }
    },
    close: () => closeSocket(fd),
  };
}
