// The holdfast command: one subcommand per file of this folder.
import { Command } from 'commander';

/** @param commands - in the order in which `holdfast --help` shows them */
export function holdfastProgram(version: string, commands: readonly Command[]): Command {
  const program = new Command('holdfast')
    .description('Extends the kubelet: containers keep their data, their CPUs and their memory node.')
    .version(version)
    .showHelpAfterError('(holdfast --help shows what there is)');
  for (const command of commands) program.addCommand(command);
  throwInsteadOfExiting(program);
  return program;
}

/** So that the exit code is decided in one place, and wrong arguments have one of their own. */
function throwInsteadOfExiting(command: Command): void {
  command.exitOverride();
  for (const subcommand of command.commands) throwInsteadOfExiting(subcommand);
}
