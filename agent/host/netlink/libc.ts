// The system calls that Node does not have: sockets of the netlink and packet families, and changing a thread's network
// namespace.
// Each returns what the call returns, or the error number as a negative number, as the kernel itself does.

export interface Libc {
  socket(domain: number, type: number, protocol: number): number;
  connect(fd: number, address: Buffer): number;
  bind(fd: number, address: Buffer): number;
  setOption(fd: number, level: number, option: number, value: number): number;
  /** @param program - instructions of eight bytes each (struct sock_filter), at most 4096 */
  setFilter(fd: number, program: Buffer): number;
  /** Does not wait. For sockets whose send() takes microseconds; see {@link Libc.sendAside} for the others. */
  send(fd: number, data: Buffer): number;
  /** Does not wait; `MSG_TRUNC` is set: the number of bytes may be greater than the buffer. */
  receive(fd: number, into: Buffer): number;
  /** {@link Libc.receive} on a worker thread: the kernel makes the next part of a listing while it hands out this one. */
  receiveAside(fd: number, into: Buffer): Promise<number>;
  /** On a worker thread, because the kernel carries a request out before the call returns. */
  sendAside(fd: number, data: Buffer): Promise<number>;
  /** Of the calling thread. */
  setNamespace(fd: number, kind: number): number;
  /** ioctl(2) without an argument. */
  control(fd: number, request: number): number;
}

/** include/uapi/asm-generic/socket.h */
const SOL_SOCKET = 1;
const SO_ATTACH_FILTER = 26;
const FILTER_INSTRUCTION_BYTES = 8;

const MSG_TRUNC = 0x20;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;

let loading: Promise<Libc> | undefined;

/** Loaded by its first user: most invocations of the command line need none of it. */
export function loadLibc(): Promise<Libc> {
  loading ??= load();
  return loading;
}

async function load(): Promise<Libc> {
  const { default: koffi } = await import('koffi');
  const library = koffi.load(null);
  const socket = library.func('int socket(int domain, int type, int protocol)');
  const connect = library.func('int connect(int fd, const void *address, uint32_t length)');
  const setOption = library.func(
    'int setsockopt(int fd, int level, int option, const void *value, uint32_t valueLength)',
  );
  const bind = library.func('int bind(int fd, const void *address, uint32_t length)');
  // struct sock_fprog of include/uapi/linux/filter.h.
  const program = koffi.struct({ length: 'uint16_t', instructions: 'const void *' });
  const setFilter = library.func('setsockopt', 'int', ['int', 'int', 'int', koffi.pointer(program), 'uint32_t']);
  const receive = library.func('long recv(int fd, _Out_ void *into, size_t length, int flags)');
  const send = library.func('long send(int fd, const void *data, size_t length, int flags)');
  const setNamespace = library.func('int setns(int fd, int kind)');
  const control = library.func('int ioctl(int fd, unsigned long request, ...)');

  const settle = (result: unknown): number => {
    const value = Number(result);
    return value < 0 ? -koffi.errno() : value;
  };
  /** koffi sets errno to the worker's before it calls back. */
  const aside = (start: (done: (error: unknown, result: unknown) => void) => void): Promise<number> =>
    new Promise((resolve, reject) => {
      start((error, result) => {
        if (error === null || error === undefined) resolve(settle(result));
        else
          reject(error instanceof Error ? error : new Error('a worker thread could not make a call', { cause: error }));
      });
    });
  const receiveFlags = MSG_DONTWAIT | MSG_TRUNC;

  return {
    socket: (domain, type, protocol) => settle(socket(domain, type, protocol)),
    connect: (fd, address) => settle(connect(fd, address, address.length)),
    setOption: (fd, level, option, value) => {
      const bytes = Buffer.alloc(4);
      bytes.writeInt32LE(value);
      return settle(setOption(fd, level, option, bytes, bytes.length));
    },
    bind: (fd, address) => settle(bind(fd, address, address.length)),
    setFilter: (fd, instructions) => {
      const value = { length: instructions.length / FILTER_INSTRUCTION_BYTES, instructions };
      return settle(setFilter(fd, SOL_SOCKET, SO_ATTACH_FILTER, value, koffi.sizeof(program)));
    },
    send: (fd, data) => settle(send(fd, data, data.length, MSG_NOSIGNAL | MSG_DONTWAIT)),
    receive: (fd, into) => settle(receive(fd, into, into.length, receiveFlags)),
    receiveAside: (fd, into) => aside((done) => receive.async(fd, into, into.length, receiveFlags, done)),
    sendAside: (fd, data) => aside((done) => send.async(fd, data, data.length, MSG_NOSIGNAL, done)),
    setNamespace: (fd, kind) => settle(setNamespace(fd, kind)),
    control: (fd, request) => settle(control(fd, request)),
  };
}
