// The host's network namespace and what is open towards it.
import { KeyedMutex } from '../../../lib/keyed-mutex.ts';
import { type NetworkNamespace, openNetworkNamespace, openOwnNetworkNamespace } from '../netlink/namespace.ts';
import { type NetlinkSocket, openNetlinkSocket } from '../netlink/socket.ts';

export interface HostNetwork {
  readonly namespace: NetworkNamespace;
  readonly socket: NetlinkSocket;
  /** For removals, which keep the kernel busy for tens of milliseconds: nobody else waits behind them. */
  readonly slowSocket: NetlinkSocket;
  /** By name of a bridge: one makes it, the others find it. */
  readonly bridges: KeyedMutex;
  close(): Promise<void>;
}

/**
 * @param path - of the namespace; undefined: the one that this process is in
 * @throws HoldfastError INVALID_REQUEST, HOST_FAILURE
 */
export async function openHostNetwork(path: string | undefined): Promise<HostNetwork> {
  const namespace = path === undefined ? await openOwnNetworkNamespace() : await openNetworkNamespace(path);
  const opened: NetlinkSocket[] = [];
  const close = async (): Promise<void> => {
    for (const socket of opened) await socket.close();
    await namespace.close();
  };
  const open = async (): Promise<NetlinkSocket> => {
    const socket = await openNetlinkSocket(namespace);
    opened.push(socket);
    return socket;
  };
  try {
    return { namespace, socket: await open(), slowSocket: await open(), bridges: new KeyedMutex(), close };
  } catch (error) {
    await close();
    throw error;
  }
}
