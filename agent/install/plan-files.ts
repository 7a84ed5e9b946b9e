// What has to become of each file of ours: made, replaced, left, or not touched because somebody changed it. Pure.
import { posix } from 'node:path';
import type { HostPath } from '../host/host-files.ts';
import { LAYOUT } from './layout.ts';
import { digestText, isAsWritten, type Manifest } from './manifest.ts';
import { isMadeByUs } from './plan-kubelet.ts';
import type { Blocker, Step } from './step.ts';

/** A file as it is to be. */
export interface WantedFile {
  readonly path: string;
  readonly text: string;
  readonly mode: number;
}

export type FileRecord = Manifest['files'][string];

export interface FilePlan {
  readonly steps: readonly Step[];
  readonly blockers: readonly Blocker[];
  /** The manifest's entries of these files: the digest of the new text first. */
  readonly records: Readonly<Record<string, FileRecord>>;
}

export interface FilePlanOptions {
  /** Replace files that somebody changed, too. */
  readonly overwrite: boolean;
}

function planFile(
  wanted: WantedFile,
  found: HostPath | undefined,
  known: FileRecord | undefined,
  { overwrite }: FilePlanOptions,
): FilePlan {
  const { path, text, mode } = wanted;
  const digest = digestText(text);
  const kept: FileRecord = { ...known, digests: [...new Set([digest, ...(known?.digests ?? [])])] };
  if (found === undefined) {
    return { steps: [{ do: 'write', path, text, mode }], blockers: [], records: { [path]: kept } };
  }
  if (found.kind !== 'file') {
    const blocker = { text: `${path} is a ${found.kind}, where a file belongs`, remedy: `move ${path} away` };
    return { steps: [], blockers: [blocker], records: {} };
  }
  if (found.text === text && found.mode === mode) return { steps: [], blockers: [], records: { [path]: kept } };
  const before = { text: found.text, mode: found.mode };
  // Also what an interrupted installation was about to replace.
  const isOurs = isAsWritten(found.text, known) || (known?.before !== undefined && known.before.text === found.text);
  if (isOurs || found.text === text) {
    return { steps: [{ do: 'write', path, text, mode, before }], blockers: [], records: { [path]: kept } };
  }
  const what =
    known === undefined ? 'is there already, and not by holdfast install' : 'was changed since it was installed';
  if (!overwrite) {
    const remedy = 'move it away (for units, keep your settings with systemctl edit), or install with --overwrite';
    return { steps: [], blockers: [{ text: `${path} ${what}`, remedy }], records: {} };
  }
  // What was there before us is what the first installation found; a file of ours whose manifest was lost is none.
  const isForeign = known === undefined && !isMadeByUs(found.text);
  const note = isForeign ? `${what}: uninstalling puts it back` : what;
  const record: FileRecord = isForeign ? { digests: [digest], before } : kept;
  return { steps: [{ do: 'write', path, text, mode, before, note }], blockers: [], records: { [path]: record } };
}

/**
 * @param found - what is at each path now
 * @param known - the manifest's entries
 */
export function planFiles(
  wanted: readonly WantedFile[],
  found: ReadonlyMap<string, HostPath>,
  known: Readonly<Record<string, FileRecord>>,
  options: FilePlanOptions,
): FilePlan {
  const plans = wanted.map((file) => planFile(file, found.get(file.path), known[file.path], options));
  return {
    steps: plans.flatMap(({ steps }) => steps),
    blockers: plans.flatMap(({ blockers }) => blockers),
    records: Object.assign({}, ...plans.map(({ records }) => records)),
  };
}

/** The command's link is in a directory where people have links of their own: ours leads to our programs. */
export function isForeignLink(path: string, target: string): boolean {
  return path === LAYOUT.command && !posix.resolve(posix.dirname(path), target).startsWith(`${LAYOUT.programs}/`);
}

/** @returns the step that makes the link, or why it cannot be made */
export function planLink(
  path: string,
  target: string,
  found: HostPath | undefined,
  { overwrite }: FilePlanOptions,
): { readonly step?: Step; readonly blocker?: Blocker } {
  if (found === undefined) return { step: { do: 'link', path, target } };
  if (found.kind !== 'link') {
    return { blocker: { text: `${path} is a ${found.kind}, where a link belongs`, remedy: `move ${path} away` } };
  }
  if (isForeignLink(path, found.target) && !overwrite) {
    const text = `${path} is there already, and not by holdfast install: a link to ${found.target}`;
    return { blocker: { text, remedy: 'move it away, or install with --overwrite' } };
  }
  return found.target === target ? {} : { step: { do: 'link', path, target, before: found.target } };
}
