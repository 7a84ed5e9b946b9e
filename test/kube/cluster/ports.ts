// TCP ports of loopback for the programs of a cluster, which cannot be told to choose their own.
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { isErrno } from '../../../lib/errors.ts';

/** Below the ports that the kernel gives to outgoing connections and that service node ports have. */
const LOWEST = 12_000;
const HIGHEST = 29_999;

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  try {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    return true;
  } catch (error) {
    if (isErrno(error, 'EADDRINUSE')) return false;
    throw error;
  } finally {
    server.close();
  }
}

/** A port that nobody listens on at this moment. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(LOWEST, HIGHEST + 1);
    if (await isFree(port)) return port;
  }
}
