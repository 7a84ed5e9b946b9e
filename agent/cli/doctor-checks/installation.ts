// Is what `holdfast install` put in place still as it should be, and does it run in that version? Pure.
import type { Manifest } from '../../install/manifest.ts';
import { type InstallPlan, stepsOf } from '../../install/plan-install.ts';
import { titleOf } from '../../install/step-text.ts';
import type { Finding } from './check.ts';

const MOST_NAMED = 5;

/**
 * @param manifest - undefined when nothing was installed by holdfast install
 * @param plan - what installing the same program again would do
 */
export function checkInstallation(manifest: Manifest | undefined, plan: InstallPlan | undefined): readonly Finding[] {
  const subject = 'installation';
  if (manifest === undefined || plan === undefined) {
    return [{ level: 'ok', subject, text: 'none by holdfast install' }];
  }
  const remedy = 'holdfast install --dry-run shows every difference; holdfast install puts it right';
  if (manifest.phase !== 'done') {
    return [{ level: 'failed', subject, text: `${manifest.phase} was interrupted`, remedy: `run it again; ${remedy}` }];
  }
  const differences = [
    ...plan.blockers.map(({ text }) => text),
    ...stepsOf(plan)
      .filter((step) => step.do !== 'record' && !step.do.startsWith('await-'))
      .map(titleOf),
  ];
  if (differences.length === 0) return [{ level: 'ok', subject, text: `${manifest.program}, as it was installed` }];
  const shown = differences.slice(0, MOST_NAMED).join('; ');
  const more = differences.length > MOST_NAMED ? `; and ${differences.length - MOST_NAMED} more` : '';
  return [{ level: 'warning', subject, text: `not as it was installed; to do: ${shown}${more}`, remedy }];
}
