// The host's network namespace and what is open towards it.
import { KeyedMutex } from '../../../lib/keyed-mutex.ts';
import { type NetworkNamespace, openNetworkNamespace, openOwnNetworkNamespace } from '../netlink/namespace.ts';
import { type NetlinkSocket, openNetlinkSocket } from '../netlink/socket.ts';

export interface HostNetwork {
  /** Noted on what is made in it; see link-alias.ts. */
  readonly owner: string;
  readonly namespace: NetworkNamespace;
  readonly socket: NetlinkSocket;
  /** For removals, which keep the kernel busy for tens of milliseconds: nobody else waits behind them. */
  readonly slowSocket: NetlinkSocket;
  /** By name of a bridge: one makes it, the others find it. */
  readonly bridges: KeyedMutex;
  close(): Promise<void>;
}

/**
 * @param owner - see link-alias.ts
 * @param path - of the namespace; undefined: the one that this process is in
 * @throws HoldfastError INVALID_REQUEST, HOST_FAILURE
 */
export async function openHostNetwork(owner: string, path: string | undefined): Promise<HostNetwork> {
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
    const bridges = new KeyedMutex();
    return { owner, namespace, socket: await open(), slowSocket: await open(), bridges, close };
  } catch (error) {
    await close();
    throw error;
  }
}
