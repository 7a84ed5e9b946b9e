// A peer that stops without closing its connection: as a host that lost its power, or a process that was stopped.
import { once } from 'node:events';
import net from 'node:net';
import type { Test } from 'tap';

export interface FreezingRelay {
  /** On 127.0.0.1; what connects here is passed on. */
  readonly port: number;
  /** From now on nothing is read and nothing closed. */
  freeze(): void;
}

/** @param to - the server */
export async function openFreezingRelay(t: Test, to: net.NetConnectOpts): Promise<FreezingRelay> {
  const ways: { readonly from: net.Socket; readonly into: net.Socket }[] = [];
  const listener = net.createServer((client) => {
    const server = net.connect(to);
    for (const [from, into] of [[client, server] as const, [server, client] as const]) {
      ways.push({ from, into });
      // Its end is what the test waits for, on the other side.
      from.on('error', () => {});
      from.pipe(into);
    }
  });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  t.teardown(() => {
    listener.close();
    for (const { from } of ways) from.destroy();
  });
  return {
    port: (listener.address() as net.AddressInfo).port,
    freeze: () => {
      for (const { from, into } of ways) {
        from.unpipe(into);
        from.pause();
      }
    },
  };
}
