// The cri-shim from its flags to its exit code.

import { describeError, HoldfastError } from '../lib/errors.ts';
import { inheritedSockets, listenInherited } from '../lib/socket-activation.ts';
import { connectServiceManager } from '../lib/systemd-notify.ts';
import { listenUnix } from '../lib/unix-socket.ts';
import { createAgentClient } from './agent-client.ts';
import { createStdoutLog, type Log } from './log.ts';
import { HELP, parseOptions, type ShimOptions } from './options.ts';
import { createShimServer, type ShimServer } from './relay/shim-server.ts';
import { createUpstream } from './relay/upstream.ts';
import { createSharedCpusReader } from './shared-cpus.ts';

/** Milliseconds that calls under way get when the program is asked to stop. */
const DRAIN_MS = 10_000;
/** Only root: whoever reaches this socket controls every container. */
const SOCKET_MODE = 0o600;

/**
 * Runs until SIGTERM or SIGINT; a second signal ends the process at once.
 * @param args - the flags, without the names of node and the program
 * @returns the exit code: 0 after an orderly end, 1 when it could not start, 2 for wrong flags
 */
export async function runShim(args: readonly string[]): Promise<number> {
  let options: ShimOptions | 'help';
  try {
    options = parseOptions(args);
  } catch (error) {
    process.stderr.write(`holdfast cri-shim: ${describeError(error)}\n`);
    return 2;
  }
  if (options === 'help') {
    process.stdout.write(HELP);
    return 0;
  }
  const stopped = stopSignal();
  const log = createStdoutLog();
  process.on('uncaughtException', (error) => {
    log.error('bug', error.stack ?? error.message);
    process.exit(1);
  });
  try {
    await serve(options, stopped, log);
    return 0;
  } catch (error) {
    log.error('start', describeError(error));
    return 1;
  }
}

/** Resolves at the first signal with its name. */
function stopSignal(): Promise<string> {
  return new Promise((resolve) => {
    let asked = false;
    const onSignal = (signal: NodeJS.Signals): void => {
      if (asked) process.exit(1);
      asked = true;
      resolve(signal);
    };
    process.on('SIGTERM', onSignal);
    process.on('SIGINT', onSignal);
  });
}

async function serve(options: ShimOptions, stopped: Promise<string>, log: Log): Promise<void> {
  const systemd = await connectServiceManager(process.env, (error) => log.warn('systemd', describeError(error)));
  const upstream = createUpstream(options.upstream);
  const agent = createAgentClient(options.agent);
  const sharedCpus = createSharedCpusReader(options.runDirectory, log);
  const shim = createShimServer({ upstream, agent, sharedCpus, log });
  const where = await listen(shim, options);
  shim.server.on('error', (error) => log.error('server', describeError(error)));
  systemd.ready();
  log.info('ready', `relaying ${where} to ${options.upstream}, asking ${options.agent}`, { pid: process.pid });

  const signal = await stopped;
  systemd.stopping();
  log.info('stopping', `${signal}: no new calls, those under way get ${DRAIN_MS / 1000} s`);
  const givenUp = await shim.drain(DRAIN_MS);
  agent.close();
  upstream.close();
  systemd.close();
  log.info('stopped', 'all calls have ended', { givenUp });
}

/** @returns where, for the log */
async function listen(shim: ShimServer, options: ShimOptions): Promise<string> {
  const inherited = inheritedSockets(process.env, process.pid);
  const [fd] = inherited;
  if (fd === undefined) {
    await listenUnix(shim.server, options.listen, SOCKET_MODE);
    return options.listen;
  }
  if (inherited.length > 1) {
    throw new HoldfastError('PRECONDITION', `systemd passed ${inherited.length} sockets; the cri-shim serves one`);
  }
  await listenInherited(shim.server, fd);
  return 'the socket passed by systemd';
}
