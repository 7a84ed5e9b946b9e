// Unix sockets of a machine as unix sockets of this host, so that the project's own clients speak to them.

import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';

export interface Relay {
  readonly path: string;
  readonly close: () => Promise<void>;
}

function join(client: Socket, upstream: Socket): void {
  const end = (): void => {
    client.destroy();
    upstream.destroy();
  };
  client.on('error', end).on('close', end).pipe(upstream);
  upstream.on('error', end).on('close', end).pipe(client);
}

/** @param port - asked at every connection, because it is another one after each start of the machine */
export async function openRelay(path: string, port: () => number): Promise<Relay> {
  const clients = new Set<Socket>();
  const server: Server = createServer((client) => {
    clients.add(client);
    client.once('close', () => clients.delete(client));
    join(client, connect(port(), '127.0.0.1').setNoDelay());
  });
  server.listen(path);
  await once(server, 'listening');
  const close = async (): Promise<void> => {
    const closed = once(server, 'close');
    server.close();
    for (const client of clients) client.destroy();
    await closed;
  };
  return { path, close };
}
