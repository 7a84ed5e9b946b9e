// The subcommands of holdfast. A command's modules are loaded only when it is the one that was asked for: loading all of
// them costs more than a second of CPU, which every call from a script or a probe would pay.
import type { Command } from 'commander';

type Loader = (version: string) => Promise<Command>;

/** In the order in which `holdfast --help` shows them. */
const LOADERS: ReadonlyMap<string, Loader> = new Map<string, Loader>([
  ['quickstart', async () => (await import('./quickstart.ts')).quickstartCommand()],
  ['agent', async (version) => (await import('./agent.ts')).agentCommand(version)],
  ['extender', async (version) => (await import('../../extender/command.ts')).extenderCommand(version)],
  ['status', async () => (await import('./status.ts')).statusCommand()],
  ['topology', async () => (await import('./topology.ts')).topologyCommand()],
  ['plan', async () => (await import('./plan.ts')).planCommand()],
  ['reuse', async () => (await import('./reuse.ts')).reuseCommand()],
  ['ip', async () => (await import('./ip.ts')).ipCommand()],
  ['doctor', async () => (await import('./doctor.ts')).doctorCommand()],
  ['config', async () => (await import('./config.ts')).configCommand()],
  ['state', async () => (await import('./state.ts')).stateCommand()],
  ['install', async () => (await import('./install.ts')).installCommand()],
  ['uninstall', async () => (await import('./uninstall.ts')).uninstallCommand()],
]);

/**
 * @param word - the first argument of the command line
 * @param version - of Holdfast, for the commands that report it
 * @returns the command of that name alone; none for `--version`; all of them for anything else, which is a call for
 * help or a mistake, answered with what there is
 */
export async function loadCommands(word: string | undefined, version: string): Promise<readonly Command[]> {
  if (word === '--version' || word === '-V') return [];
  const loader = LOADERS.get(word ?? '');
  if (loader !== undefined) return [await loader(version)];
  return Promise.all([...LOADERS.values()].map((load) => load(version)));
}
