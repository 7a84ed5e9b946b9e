// Asks the agent on cni.sock whether a pool can serve, as a runtime would by the plugin (docs/cni-protocol.md).
import net from 'node:net';
import { z } from 'zod';
import { HoldfastError } from '../../lib/errors.ts';

const MAX_ANSWER = 1024 * 1024;

const errorSchema = z.object({ code: z.int(), msg: z.string() });

function encode(pool: string): string {
  const variables = 'CNI_COMMAND=STATUS\0';
  const config = JSON.stringify({ cniVersion: '1.1.0', name: 'holdfast-doctor', type: 'holdfast', pool });
  return `holdfast-cni/1 ${variables.length} ${Buffer.byteLength(config)}\n${variables}${config}`;
}

/** The connection is kept open in both directions until the whole answer is there. */
function exchange(path: string, request: string, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ path, signal });
    const chunks: Buffer[] = [];
    let length = 0;
    const fail = (cause: unknown): void => {
      socket.destroy();
      reject(new HoldfastError('UNAVAILABLE', signal.aborted ? 'no answer in time' : 'no connection', { cause }));
    };
    socket.once('error', fail);
    socket.once('connect', () => socket.write(request));
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      length += chunk.length;
      const text = Buffer.concat(chunks).toString('latin1');
      const head = /^\d{1,3} (\d{1,7})\n/.exec(text);
      if (length > MAX_ANSWER) return fail(new Error('the answer does not end'));
      if (head === null || length < head[0].length + Number(head[1])) return;
      socket.destroy();
      resolve(Buffer.concat(chunks).subarray(head[0].length).toString());
    });
    socket.once('close', () => fail(new Error('closed before the answer was complete')));
  });
}

/**
 * @returns what is wrong with the pool, in the agent's words; undefined when it can serve
 * @throws HoldfastError UNAVAILABLE when nobody answers, HOST_FAILURE when the answer is none
 */
export async function askPoolStatus(path: string, pool: string, signal: AbortSignal): Promise<string | undefined> {
  const text = await exchange(path, encode(pool), signal);
  if (text.trim() === '' || text.trim() === '{}') return undefined;
  try {
    return errorSchema.parse(JSON.parse(text)).msg;
  } catch (cause) {
    throw new HoldfastError('HOST_FAILURE', 'the answer is not one of CNI', { cause });
  }
}
