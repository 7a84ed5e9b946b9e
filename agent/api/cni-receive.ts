// A request from one connection of cni.sock: complete within its time, or not at all.
import type { Socket } from 'node:net';
import { CNI_ERROR, CniError } from '../network/cni/cni-error.ts';
import type { RawCall } from '../network/cni/parse-request.ts';
import { RequestReader } from './cni-wire.ts';

/**
 * The caller is not listened to any more afterwards: what it sends beyond its request ends the connection, as its own
 * end does, so that `close` always tells that it is gone.
 * @param withinMs - milliseconds
 * @returns undefined when the connection closed before the request was complete
 * @throws CniError 5 when it is no request, or takes too long
 */
export function receiveCall(socket: Socket, withinMs: number): Promise<RawCall | undefined> {
  const reader = new RequestReader();
  return new Promise((resolve, reject) => {
    const settle = (): void => {
      clearTimeout(timer);
      socket.off('data', onData);
      socket.off('close', onClose);
      socket.on('data', () => socket.destroy());
    };
    const onClose = (): void => {
      settle();
      resolve(undefined);
    };
    const onData = (chunk: Buffer): void => {
      try {
        const call = reader.push(chunk);
        if (call === undefined) return;
        settle();
        resolve(call);
      } catch (error) {
        settle();
        reject(error);
      }
    };
    const timer = setTimeout(() => {
      settle();
      const text = `the request did not arrive within ${withinMs / 1000} s`;
      reject(new CniError(CNI_ERROR.IO_FAILURE, 'DEADLINE', text));
    }, withinMs);
    socket.on('data', onData);
    socket.once('close', onClose);
  });
}
