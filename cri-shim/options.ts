// The flags of the cri-shim. Pure.
import { parseArgs } from 'node:util';
import { describeError, HoldfastError } from '../lib/errors.ts';
import { MAX_SOCKET_PATH } from '../lib/unix-socket.ts';

export interface ShimOptions {
  /** Where the kubelet connects; not used with a socket passed by systemd. */
  readonly listen: string;
  /** The runtime's socket. */
  readonly upstream: string;
  readonly agent: string;
  /** Where the agent publishes the shared CPU mask. */
  readonly runDirectory: string;
}

const DEFAULTS = {
  listen: '/run/holdfast/cri.sock',
  upstream: '/run/containerd/containerd.sock',
  agent: '/run/holdfast/agent.sock',
  'run-dir': '/run/holdfast',
} as const;

export const HELP = `Usage: holdfast cri-shim [flags]

Relays the CRI between the kubelet and the container runtime, and asks the Holdfast agent at each step of a
container's life.

  --listen PATH    socket for the kubelet (default ${DEFAULTS.listen}); with systemd socket
                   activation the socket passed by systemd is used instead
  --upstream PATH  socket of the runtime (default ${DEFAULTS.upstream})
  --agent PATH     socket of the agent (default ${DEFAULTS.agent})
  --run-dir DIR    where the agent publishes the shared CPUs (default ${DEFAULTS['run-dir']})
  --help           this text

Paths may be written as the kubelet does: unix:///run/containerd/containerd.sock
`;

/**
 * @param args - without the names of node and the program
 * @returns `help` when that was asked for
 * @throws HoldfastError INVALID_REQUEST for unknown flags, missing values and paths that are not absolute
 */
export function parseOptions(args: readonly string[]): ShimOptions | 'help' {
  const values = readFlags(args);
  if (values.help === true) return 'help';
  const path = (flag: keyof typeof DEFAULTS): string => {
    const text = (values[flag] ?? DEFAULTS[flag]).replace(/^unix:(\/\/)?/, '');
    if (!text.startsWith('/') || text.includes('\0')) {
      throw new HoldfastError('INVALID_REQUEST', `--${flag} is "${text}"; an absolute path is needed`);
    }
    if (flag !== 'run-dir' && Buffer.byteLength(text) > MAX_SOCKET_PATH) {
      throw new HoldfastError(
        'INVALID_REQUEST',
        `--${flag} is longer than the ${MAX_SOCKET_PATH} bytes of a socket's path`,
      );
    }
    return text;
  };
  const options = {
    listen: path('listen'),
    upstream: path('upstream'),
    agent: path('agent'),
    runDirectory: path('run-dir'),
  };
  if (options.listen === options.upstream) {
    throw new HoldfastError(
      'INVALID_REQUEST',
      `--listen and --upstream are both ${options.listen}: calls would go in circles`,
    );
  }
  return options;
}

function readFlags(args: readonly string[]): Partial<Record<keyof typeof DEFAULTS, string>> & { help?: boolean } {
  const text = { type: 'string' } as const;
  const options = { listen: text, upstream: text, agent: text, 'run-dir': text, help: { type: 'boolean' } } as const;
  try {
    return parseArgs({ args: [...args], options, strict: true, allowPositionals: false }).values;
  } catch (error) {
    throw new HoldfastError('INVALID_REQUEST', `${describeError(error)}; see --help`);
  }
}
