// The two JSON protocols of QEMU over a unix socket: QMP, which steers the machine, and the guest agent's, which runs in it.
// Every command has an ID, and its answer has the same one: an answer that comes too late is passed over, as events are.
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { HoldfastError, isErrno } from '../../../lib/errors.ts';

const CONNECT_INTERVAL_MS = 50;
const COMMAND_TIMEOUT_MS = 120_000;

export interface CommandSocket {
  /**
   * @returns what the other side calls `return`
   * @throws HoldfastError HOST_FAILURE with its `error`, UNAVAILABLE when the connection has ended, DEADLINE
   */
  readonly execute: (command: string, args?: object, timeoutMs?: number) => Promise<unknown>;
  readonly close: () => void;
}

interface Waiting {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
}

async function connectTo(path: string, timeoutMs: number): Promise<Socket> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    try {
      return await new Promise<Socket>((resolve, reject) => {
        const socket = connect(path, () => resolve(socket));
        socket.once('error', reject);
      });
    } catch (error) {
      if (!isErrno(error, 'ENOENT', 'ECONNREFUSED', 'EAGAIN') || Date.now() >= deadline) throw error;
      await delay(CONNECT_INTERVAL_MS);
    }
  }
}

function takeAnswer(line: string, waiting: Map<unknown, Waiting>): void {
  const message: unknown = JSON.parse(line);
  if (typeof message !== 'object' || message === null || !('id' in message)) return;
  const asked = waiting.get(message.id);
  if ('return' in message) asked?.resolve(message.return);
  if ('error' in message) {
    asked?.reject(new HoldfastError('HOST_FAILURE', `QEMU refuses: ${JSON.stringify(message.error)}`));
  }
}

/** Waits for the socket to be there. */
export async function openCommandSocket(path: string, timeoutMs: number): Promise<CommandSocket> {
  const socket = await connectTo(path, timeoutMs);
  const waiting = new Map<unknown, Waiting>();
  let lastId = 0;
  const ended = (): HoldfastError => new HoldfastError('UNAVAILABLE', 'QEMU has closed the connection');
  const end = (): void => {
    for (const { reject } of waiting.values()) reject(ended());
  };
  socket.on('error', end).on('close', end);
  const lines = createInterface({ input: socket.setEncoding('utf8') });
  // It passes the socket's errors on, which have been seen above.
  lines.on('line', (line) => takeAnswer(line, waiting)).on('error', end);
  return {
    execute: async (command, args = {}, timeoutMs_ = COMMAND_TIMEOUT_MS) => {
      if (socket.destroyed) throw ended();
      lastId += 1;
      const id = lastId;
      let timer: NodeJS.Timeout | undefined;
      try {
        return await new Promise((resolve, reject) => {
          waiting.set(id, { resolve, reject });
          const late = new HoldfastError('DEADLINE', `${command} was not answered within ${timeoutMs_} ms`);
          timer = setTimeout(() => reject(late), timeoutMs_);
          socket.write(`${JSON.stringify({ execute: command, arguments: args, id })}\n`);
        });
      } finally {
        clearTimeout(timer);
        waiting.delete(id);
      }
    },
    close: () => socket.destroy(),
  };
}
