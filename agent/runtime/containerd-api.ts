// containerd's own services beside CRI on the same socket, in the namespace where its CRI keeps everything.
import type { MessageShape } from '@bufbuild/protobuf';
import type { RuntimeConnection, UnaryMethod } from './connection.ts';

const METADATA = { 'containerd-namespace': 'k8s.io' } as const;
const CALL_TIMEOUT_MS = 10_000;

/** Calls a unary method of containerd. */
export type ContainerdCall = <Method extends UnaryMethod>(
  method: Method,
  request: MessageShape<Method['input']>,
  signal: AbortSignal,
  timeoutMs?: number,
) => Promise<MessageShape<Method['output']>>;

export function containerdCall(connection: RuntimeConnection): ContainerdCall {
  return (method, request, signal, timeoutMs = CALL_TIMEOUT_MS) =>
    connection.call(method, request, { metadata: METADATA, timeoutMs, signal });
}
