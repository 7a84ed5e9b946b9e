// `holdfast agent`: the daemon. Signals are handled before anything starts, and a second one ends it at once.
import { Command } from 'commander';
import { describeError } from '../../lib/errors.ts';
import { configPaths, loadConfig } from '../config/load.ts';
import { runAgent } from '../daemon.ts';
import { createLogger } from '../log.ts';

/**
 * Runs until SIGTERM or SIGINT.
 * @param version - of Holdfast, for status and logs
 */
export function agentCommand(version: string): Command {
  return new Command('agent')
    .description('run the agent (what the systemd unit holdfast-agent starts)')
    .option('--config <file>', 'configuration file; the folder config.d beside it is read too')
    .action(async (options: { readonly config?: string }) => {
      const shutdown = shutdownOnSignal();
      const { config, files } = await loadConfig(configPaths(options.config));
      const logger = createLogger(config.log.level);
      logger.info({ version, pid: process.pid, files }, 'holdfast agent starting');
      try {
        await runAgent({ config, version, logger, shutdown });
      } catch (error) {
        logger.fatal({ error: describeError(error) }, 'the agent cannot run');
        throw error;
      }
    });
}

/** The root of every wait of the agent; aborted by the first signal. */
function shutdownOnSignal(): AbortSignal {
  const controller = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) {
    process.on(name, () => {
      if (controller.signal.aborted) process.exit(128 + (name === 'SIGTERM' ? 15 : 2));
      controller.abort(new Error(`received ${name}`));
    });
  }
  return controller.signal;
}
