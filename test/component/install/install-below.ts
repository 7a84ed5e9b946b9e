// Installs a small program below a root directory, or uninstalls it, by the same plans and the same execution as the
// command.
import { openHostFiles } from '../../../agent/host/host-files.ts';
import { openHostTree } from '../../../agent/host/host-tree.ts';
import { executeSteps, type HostActions } from '../../../agent/install/execute.ts';
import type { CniOptions } from '../../../agent/install/plan-cni.ts';
import { planInstall, stepsOf } from '../../../agent/install/plan-install.ts';
import { planUninstall } from '../../../agent/install/plan-uninstall.ts';
import { withCompiler } from '../../../agent/install/probe-compiler.ts';
import { readInstallFacts } from '../../../agent/install/read-facts.ts';
import { isIntact, readProgram } from '../../../agent/install/read-program.ts';
import { HoldfastError } from '../../../lib/errors.ts';
import { failpointFromEnvironment } from '../../../lib/failpoint.ts';

/** Below a root directory nothing runs: a plan that waits for something there is wrong. */
const never = (): Promise<void> => Promise.reject(new Error('nothing runs below a root directory'));
const actions: HostActions = {
  agentAnswers: never,
  shimAnswers: never,
  kubeletRuns: never,
  releaseCpus: never,
  dropLayers: never,
  clearNetwork: never,
};

/**
 * @returns how many steps there were
 * @throws HoldfastError PRECONDITION naming what stands in the way, as the command does
 */
export async function installBelow(
  command: 'install' | 'uninstall',
  root: string,
  source: string,
  environment: NodeJS.ProcessEnv = {},
  network: { readonly pools: readonly string[]; readonly cni?: CniOptions } = { pools: [] },
): Promise<number> {
  const { signal } = new AbortController();
  const files = await openHostFiles(root);
  const tree = await openHostTree(root);
  const facts = await readInstallFacts({
    files,
    tree,
    systemd: undefined,
    configuredRuntime: undefined,
    pools: network.pools,
    hasDefaultPool: false,
    cniDirectories: undefined,
    signal,
  });
  const program = await readProgram(source);
  const isThere = await isIntact(files.locate(program.target), program);
  const cni = await withCompiler(network.cni ?? {}, facts, program, signal);
  const plan = planInstall(facts, { ...program, isThere }, { kubelet: true, overwrite: false, cni });
  const uninstall = planUninstall(facts, { keepState: false });
  const [blocker] = command === 'install' ? plan.blockers : uninstall.blockers;
  if (blocker !== undefined) throw new HoldfastError('PRECONDITION', `nothing was changed: ${blocker.text}`);
  const steps = command === 'install' ? stepsOf(plan) : uninstall.steps;
  const failpoint = failpointFromEnvironment(environment);
  await executeSteps(steps, {
    files,
    systemd: undefined,
    actions,
    program,
    signal,
    onStep: () => {},
    onNote: (text) => {
      throw new Error(`nothing runs below a root directory: ${text}`);
    },
    ...(failpoint && { failpoint }),
  });
  return steps.length;
}
