// How an upgrade is taken back whose agent or shim does not come up: the program that was in use before, with its units, is
// started again. A kubelet that is pointed at the shim has no runtime until then. Pure.
import type { HostPath } from '../host/host-files.ts';
import type { InstallFacts } from './facts.ts';
import { AGENT_UNIT, LAYOUT, SHIM_UNIT } from './layout.ts';
import { digestText, type Manifest } from './manifest.ts';
import type { WantedFile } from './plan-files.ts';
import { type Step, systemctl } from './step.ts';
import { wantedUnits } from './wanted.ts';

/** The program in use, or, where an upgrade was interrupted, the one that was: the first whose units can be read. */
function earlierProgram({ paths, manifest, units }: InstallFacts, target: string) {
  const current = paths.get(LAYOUT.current);
  const isUnderWay = manifest !== undefined && manifest.phase !== 'done';
  const inUse = current?.kind === 'link' ? current.target : undefined;
  if (inUse === target && !isUnderWay) return undefined;
  for (const program of [inUse, manifest?.program, manifest?.previous]) {
    const texts = program === undefined || program === target ? undefined : units.get(program);
    if (program !== undefined && texts !== undefined) return { program, texts };
  }
  return undefined;
}

/** What was at the path before the upgrade: what is there, unless an interrupted one has replaced it already. */
function fileBefore(wanted: WantedFile, earlier: WantedFile, found: HostPath | undefined): Step | undefined {
  const isThere = found?.kind === 'file' && found.text !== wanted.text;
  const { text, mode } = isThere ? found : earlier;
  if (text === wanted.text) return undefined;
  return { do: 'write', path: wanted.path, text, mode, before: { text: wanted.text, mode: wanted.mode } };
}

/** The manifest of the earlier program: of each file that digest counts which it then has. */
function manifestBefore(base: Manifest, program: string, target: string, texts: ReadonlyMap<string, string>): Manifest {
  const { previous, ...rest } = base;
  const files = Object.entries(base.files).map(([path, record]) => {
    const digest = digestText(texts.get(path) ?? '');
    const digests = record.digests.includes(digest) ? [digest] : record.digests.slice(0, 1);
    return [path, { ...record, digests }];
  });
  const isKept = previous !== undefined && previous !== program && previous !== target;
  return { ...rest, program, ...(isKept ? { previous } : {}), files: Object.fromEntries(files) };
}

/**
 * @param target - folder of the program that is being installed
 * @param wanted - its units
 * @param otherwise - the manifest to go on from where there is none on the host
 * @returns the steps in their order; none where nothing was in use before
 */
export function planWayBack(
  facts: InstallFacts,
  target: string,
  wanted: readonly WantedFile[],
  otherwise: Manifest,
): readonly Step[] {
  const earlier = earlierProgram(facts, target);
  if (!facts.isLive || earlier === undefined) return [];
  const { program, texts } = earlier;
  const base = facts.manifest ?? otherwise;
  const before = new Map(wantedUnits(texts, base.upstream).map((file) => [file.path, file]));
  const files = wanted.flatMap((file) => {
    const old = before.get(file.path);
    return (old === undefined ? undefined : fileBefore(file, old, facts.paths.get(file.path))) ?? [];
  });
  const after = new Map<string, string>();
  for (const [path, found] of facts.paths) if (found.kind === 'file') after.set(path, found.text);
  for (const step of files) if (step.do === 'write') after.set(step.path, step.text);
  return [
    ...files,
    { do: 'link', path: LAYOUT.current, target: program, before: target },
    systemctl('daemon-reload'),
    // In one call: a shim is not left alone because the agent does not come up.
    systemctl('restart', AGENT_UNIT, SHIM_UNIT),
    { do: 'await-agent' },
    { do: 'await-shim' },
    { do: 'record', manifest: manifestBefore(base, program, target, after) },
  ];
}
