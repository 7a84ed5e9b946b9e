// Connections to the TCP endpoint that come and go, in every way that a client can begin, leave nothing behind.
import http2 from 'node:http2';
import net from 'node:net';
import tls from 'node:tls';
import v8 from 'node:v8';
import vm from 'node:vm';
import t from 'tap';
import type { KeyPair } from '../../support/test-certificates.ts';
import { serve, untilConnections } from './support/tcp-fixture.ts';

/** Connections in each of three rounds. */
const CONNECTS = Math.ceil(Number(process.env['HOLDFAST_TEST_CONNECTS'] ?? 480) / 3);

/** Connects in one of the ways in which a client can begin, and is gone. */
async function connectAndDrop(kind: number, port: number, ca: string, pair: KeyPair): Promise<void> {
  const options = { port, host: '127.0.0.1', ca, ALPNProtocols: ['h2'], ...(kind === 1 ? {} : pair) };
  const socket = kind === 0 ? net.connect(port, '127.0.0.1') : tls.connect(options);
  // Its end may be the server's doing or its own.
  socket.on('error', () => {});
  await new Promise((resolve) => {
    for (const event of ['connect', 'secureConnect', 'close']) {
      if (event !== 'connect' || kind === 0) socket.once(event, resolve);
    }
  });
  if (kind === 2) socket.write('this is not HTTP/2');
  if (kind === 3) {
    const session = http2.connect('https://localhost', { createConnection: () => socket });
    session.on('error', () => {});
    const headers = { ':method': 'POST', ':path': '/grpc.health.v1.Health/Watch', 'content-type': 'application/grpc' };
    const stream = session.request({ ...headers, te: 'trailers' });
    stream.on('error', () => {});
    stream.end(Buffer.alloc(5));
    await new Promise((resolve) => {
      for (const event of ['data', 'close']) stream.once(event, resolve);
    });
    session.destroy();
  }
  socket.destroy();
}

// A connection takes some ten milliseconds, and many times that on a machine that has other things to do.
t.setTimeout(300_000 + CONNECTS * 1000);

v8.setFlagsFromString('--expose-gc');
const collectGarbage: () => void = vm.runInNewContext('gc');

await t.test('connections that come and go leave nothing behind', async (t) => {
  const { endpoint, authority, port, client } = await serve(t);
  const round = async (): Promise<number> => {
    for (let connects = 0; connects < CONNECTS; connects += 4) {
      await Promise.all([0, 1, 2, 3].map((kind) => connectAndDrop(kind, port, authority.ca, client)));
    }
    await untilConnections(endpoint, 0);
    collectGarbage();
    const { heapUsed, external } = process.memoryUsage();
    return heapUsed + external;
  };
  // The first fills caches and compiles.
  await round();
  const before = await round();
  const grown = (await round()) - before;
  // One that were kept, with its TLS state, would be 30 KiB or more.
  t.ok(grown < 2 * 1024 * 1024, `${grown} bytes more after ${CONNECTS} connections than after as many before`);
  t.comment(`${grown} bytes more after ${CONNECTS} connections than after as many before`);
});
