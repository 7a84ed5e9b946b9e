// Steps as people read them before and while they are carried out: what is done, and the change of each file. Pure.
import { createTwoFilesPatch } from 'diff';
import type { Step } from './step.ts';

const NO_FILE = '/dev/null';
/** Lines around a change, as diff -u has them. */
const CONTEXT = 3;

/** The change of a file in the unified format. */
export function formatDiff(path: string, before: string | undefined, after: string | undefined): string {
  const from = before === undefined ? NO_FILE : path;
  const to = after === undefined ? NO_FILE : path;
  const patch = createTwoFilesPatch(from, to, before ?? '', after ?? '', undefined, undefined, { context: CONTEXT });
  // Without the library's lines before the names of the files, and without the tabs that would precede times.
  return patch
    .slice(patch.indexOf('--- '))
    .replaceAll(/^(---|\+\+\+) (.*)\t$/gm, '$1 $2')
    .trimEnd();
}

const octal = (mode: number): string => `0${mode.toString(8)}`;

/** One line: what the step does. */
export function titleOf(step: Step): string {
  switch (step.do) {
    case 'record':
      return `note in the manifest: ${step.manifest.phase}`;
    case 'copy-program':
      return `copy the program from ${step.from} to ${step.to}`;
    case 'write':
      return `${step.before === undefined ? 'write' : 'change'} ${step.path} (mode ${octal(step.mode)})`;
    case 'link':
      return `link ${step.path} → ${step.target}${step.before === undefined ? '' : ` (was ${step.before})`}`;
    case 'remove':
      return `remove ${step.path}`;
    case 'remove-tree':
      return `remove ${step.path} and all that is in it`;
    case 'remove-empty':
      return `remove ${step.path} if nothing is left in it`;
    case 'run':
      return `run ${step.program} ${step.args.join(' ')}`;
    case 'await-agent':
      return 'wait until the agent answers';
    case 'await-shim':
      return 'wait until the runtime answers through the shim';
    case 'await-kubelet':
      return step.pointed
        ? `wait until ${step.unit} runs with the shim; else point it back`
        : `wait until ${step.unit} runs without the shim`;
    case 'release-cpus':
      return 'give every running container that was confined all CPUs and memory nodes again';
    case 'drop-layers':
      return 'remove every kept layer and its lease';
    case 'place-launcher':
      return `compile ${step.source} to ${step.path}${step.isThere ? ', in place of what is there' : ''}`;
    case 'clear-network':
      return 'remove the nftables table inet holdfast, the routing rules 27720 and the routes of table 2772';
  }
}

function changeOf(step: Step): string | undefined {
  if (step.do === 'write') return formatDiff(step.path, step.before?.text, step.text);
  if (step.do === 'remove' && step.before !== undefined) return formatDiff(step.path, step.before, undefined);
  return undefined;
}

/** A step with all that it changes. */
export function formatStep(step: Step): string {
  const note = 'note' in step && step.note !== undefined ? `: ${step.note}` : '';
  const change = changeOf(step);
  const lines = change === undefined ? [] : change.split('\n').map((line) => `    ${line}`.trimEnd());
  return [`- ${titleOf(step)}${note}`, ...lines].join('\n');
}

/** The plan as people read it; the manifest is Holdfast's own affair. */
export function formatSteps(steps: readonly Step[]): string {
  const shown = steps.filter((step) => step.do !== 'record');
  return shown.map((step) => `${formatStep(step)}\n`).join('');
}
