// The network namespace of a sandbox, open for the time of one attachment or check.
import { HoldfastError } from '../../../lib/errors.ts';
import { type NetworkNamespace, openNetworkNamespace } from '../netlink/namespace.ts';
import { type NetlinkSocket, openNetlinkSocket } from '../netlink/socket.ts';

export interface SandboxNetwork {
  readonly namespace: NetworkNamespace;
  readonly socket: NetlinkSocket;
}

/**
 * Opens the namespace, and closes it when `work` has ended.
 * @param host - a sandbox that shares it has no network of its own to be joined
 * @throws HoldfastError INVALID_REQUEST when it is none, or the host's; what `work` throws
 */
export async function withSandbox<Result>(
  path: string,
  host: NetworkNamespace,
  work: (sandbox: SandboxNetwork) => Promise<Result>,
): Promise<Result> {
  const namespace = await openNetworkNamespace(path);
  try {
    if (namespace.isSameAs(host)) {
      throw new HoldfastError('INVALID_REQUEST', `${path} is the host's own network namespace, not that of a sandbox`);
    }
    const socket = await openNetlinkSocket(namespace);
    try {
      return await work({ namespace, socket });
    } finally {
      await socket.close();
    }
  } finally {
    await namespace.close();
  }
}
