// `holdfast config`: is the configuration valid, what is in force, and what may be written.
import { Command, Option } from 'commander';
import { formatConfig } from '../config/format.ts';
import { checkConfigFiles, configPaths, listConfigFiles, loadConfig } from '../config/load.ts';
import { formatProblem } from '../config/problems.ts';
import { configJsonSchema } from '../config/schema.ts';

const fileOption = (): Option => new Option('--config <file>', 'instead of /etc/holdfast/config.yaml');

async function check(files: readonly string[], options: { readonly config?: string }): Promise<void> {
  const named = files.length > 0 ? files : await listConfigFiles(configPaths(options.config));
  const checked = await checkConfigFiles(named);
  if (checked.ok) {
    const read = named.length === 0 ? 'no configuration files; defaults are in force' : `${named.join(', ')}: valid`;
    process.stdout.write(`${read}\n`);
    return;
  }
  for (const problem of checked.problems) process.stderr.write(`${formatProblem(problem)}\n`);
  process.exitCode = 1;
}

async function show(options: { readonly output: 'yaml' | 'json'; readonly config?: string }): Promise<void> {
  process.stdout.write(formatConfig(await loadConfig(configPaths(options.config)), options.output));
}

export function configCommand(): Command {
  const command = new Command('config').description('check and show the configuration');
  command
    .command('check')
    .description('says whether the configuration is valid; every problem with its file, line and column')
    .argument('[files...]', 'checked together, later ones win; by default those that the agent reads')
    .addOption(fileOption())
    .action(check);
  command
    .command('show')
    .description('prints the configuration that the files give, defaults included')
    .addOption(
      new Option('-o, --output <format>', 'yaml says where each value comes from')
        .choices(['yaml', 'json'])
        .default('yaml'),
    )
    .addOption(fileOption())
    .action(show);
  command
    .command('schema')
    .description('prints the JSON schema of configuration files')
    .action(() => {
      process.stdout.write(`${JSON.stringify(configJsonSchema(), null, 2)}\n`);
    });
  return command;
}
