// `holdfast extender`: the program beside kube-scheduler. Runs until SIGTERM or SIGINT.
import { once } from 'node:events';
import { Command } from 'commander';
import { createLogger } from '../agent/log.ts';
import { describeError } from '../lib/errors.ts';
import { loadExtenderConfig } from './config/load.ts';
import { startExtender } from './extender.ts';

const DEFAULT_FILE = '/etc/holdfast/extender.yaml';

/** @param version - of Holdfast, for the log */
export function extenderCommand(version: string): Command {
  return new Command('extender')
    .description("run kube-scheduler's extender (filters nodes where a required pod cannot fit, ranks the rest)")
    .option('--config <file>', 'configuration file, of kind ExtenderConfig', DEFAULT_FILE)
    .action(async (options: { readonly config: string }) => {
      const shutdown = new AbortController();
      for (const [name, number] of [
        ['SIGTERM', 15],
        ['SIGINT', 2],
      ] as const) {
        process.on(name, () => {
          // The second one ends it at once.
          if (shutdown.signal.aborted) process.exit(128 + number);
          shutdown.abort(new Error(`received ${name}`));
        });
      }
      const config = await loadExtenderConfig(options.config);
      const logger = createLogger(config.log.level);
      const extender = await startExtender({ config, logger });
      logger.info({ version, pid: process.pid, port: extender.port }, 'holdfast extender serving');
      if (!shutdown.signal.aborted) await once(shutdown.signal, 'abort');
      logger.info({ reason: describeError(shutdown.signal.reason) }, 'holdfast extender stopping');
      await extender.close();
    });
}
