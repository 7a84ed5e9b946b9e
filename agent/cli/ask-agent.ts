// How every command talks to a running agent: one call over a unix socket, with errors that say what to do.
import type { DescMethod, MessageShape } from '@bufbuild/protobuf';
import { Option } from 'commander';
import { HoldfastError } from '../../lib/errors.ts';
import { callUnary, connectUnix, isServiceError } from '../../lib/grpc-client.ts';
import { fromServiceError } from '../../lib/grpc-status.ts';

export const AGENT_SOCKET = '/run/holdfast/agent.sock';
export const TOPOLOGY_SOCKET = '/run/holdfast/topology.sock';

const TIMEOUT_MS = 10_000;

/** `--socket PATH` of the commands that ask the agent. */
export function socketOption(defaultPath: string): Option {
  return new Option('--socket <path>', 'the socket of the agent').default(defaultPath);
}

/**
 * Asks the agent once.
 * @throws HoldfastError UNAVAILABLE when nothing answers on the socket; else the error that the agent sent
 */
export async function askAgent<Method extends DescMethod & { readonly methodKind: 'unary' }>(
  socketPath: string,
  method: Method,
  request: MessageShape<Method['input']>,
): Promise<MessageShape<Method['output']>> {
  const client = connectUnix(socketPath);
  try {
    return await callUnary(client, method, request, { timeoutMs: TIMEOUT_MS });
  } catch (error) {
    throw agentError(error, socketPath);
  } finally {
    client.close();
  }
}

/** What a failed call means to the person at the terminal. */
export function agentError(error: unknown, socketPath: string): unknown {
  if (!isServiceError(error)) return error;
  const translated = fromServiceError(error, 'the agent');
  const away = /ENOENT|ECONNREFUSED|EACCES/.exec(error.details)?.[0];
  if (translated.code !== 'UNAVAILABLE' || away === undefined) return translated;
  const remedy = away === 'EACCES' ? 'run the command as root' : 'is it running? (systemctl status holdfast-agent)';
  return new HoldfastError('UNAVAILABLE', `the agent does not answer on ${socketPath}: ${remedy}`, { cause: error });
}
