// The program that is to be installed: the one that this process was started from.
import { basename, dirname } from 'node:path';
import { z } from 'zod';
import { HoldfastError } from '../../lib/errors.ts';
import {
  digestProgram,
  isProgramFileThere,
  listProgram,
  type ProgramFile,
  readProgramText,
} from '../host/program-tree.ts';
import { LAYOUT } from './layout.ts';
import {
  candidates,
  isProgramFile,
  isProgramName,
  needsOf,
  type PackageNeeds,
  PROGRAM_ENTRIES,
} from './program-files.ts';
import { UNIT_TEXTS } from './wanted.ts';
import { launcherMark } from './wanted-cni.ts';

export interface Program {
  /** Where it is now. */
  readonly root: string;
  readonly version: string;
  readonly files: readonly ProgramFile[];
  /** Where it is to be: one folder per build. */
  readonly target: string;
  /** Texts of systemd/ by file name. */
  readonly units: ReadonlyMap<string, string>;
  /** Of the CNI plugin's launcher; absent where the program has none. */
  readonly launcherMark?: string;
}

/** Where a program has the source of the CNI plugin's launcher. */
export const LAUNCHER_SOURCE = 'cni-plugin/launcher.c';

const names = z.record(z.string(), z.string()).optional();
const packageSchema = z.looseObject({
  version: z.string().optional(),
  dependencies: names,
  optionalDependencies: names,
  peerDependencies: names,
});

async function readPackage(root: string, folder: string) {
  const path = folder === '' ? 'package.json' : `${folder}/package.json`;
  try {
    return packageSchema.parse(JSON.parse(await readProgramText(root, path)));
  } catch (cause) {
    if (cause instanceof HoldfastError) throw cause;
    throw new HoldfastError('HOST_FAILURE', `${root}/${path} cannot be used`, { cause });
  }
}

/** Folders of the packages that the program needs at run time. */
async function neededPackages(root: string): Promise<readonly string[]> {
  const found = new Set<string>();
  const locate = async (from: string, name: string): Promise<string | undefined> => {
    for (const folder of candidates(from, name)) {
      if (found.has(folder) || (await isProgramFileThere(root, `${folder}/package.json`))) return folder;
    }
    return undefined;
  };
  const visit = async (folder: string, needs: PackageNeeds): Promise<void> => {
    for (const { name, isOptional } of needsOf(needs)) {
      const at = await locate(folder, name);
      if (at === undefined && !isOptional) {
        throw new HoldfastError('PRECONDITION', `${root} lacks the package ${name}; run npm ci there first`);
      }
      if (at === undefined || found.has(at)) continue;
      found.add(at);
      await visit(at, toNeeds(await readPackage(root, at)));
    }
  };
  await visit('', toNeeds(await readPackage(root, '')));
  return [...found];
}

function toNeeds({ dependencies, optionalDependencies, peerDependencies }: z.output<typeof packageSchema>) {
  return {
    ...(dependencies && { dependencies }),
    ...(optionalDependencies && { optionalDependencies }),
    ...(peerDependencies && { peerDependencies }),
  };
}

/** The texts of systemd/ by file name. @throws HoldfastError HOST_FAILURE when one is missing */
export async function readUnitTexts(root: string): Promise<ReadonlyMap<string, string>> {
  const units = new Map<string, string>();
  for (const name of UNIT_TEXTS) units.set(name, await readProgramText(root, `systemd/${name}`));
  return units;
}

/** What a launcher of the program has in it; undefined where the program is of a version that had none. */
export async function readLauncherMark(root: string): Promise<string | undefined> {
  if (!(await isProgramFileThere(root, LAUNCHER_SOURCE))) return undefined;
  return launcherMark(await readProgramText(root, LAUNCHER_SOURCE));
}

/** Reads all that makes the program: its files, and what tells this build from another. */
export async function readProgram(root: string): Promise<Program> {
  const { version = '0' } = await readPackage(root, '');
  if (!/^[A-Za-z0-9.+_-]{1,64}$/.test(version)) {
    throw new HoldfastError('PRECONDITION', `${root}/package.json has the version "${version}", which is no name`);
  }
  const packages = await neededPackages(root);
  const files = await listProgram(root, [...PROGRAM_ENTRIES, ...packages], isProgramFile);
  if (!files.some(({ path }) => path === 'dist/agent/main.js')) {
    throw new HoldfastError('PRECONDITION', `${root} is not built; run npm ci && npm run build there first`);
  }
  const units = await readUnitTexts(root);
  const target = `${LAYOUT.programs}/${version}-${await digestProgram(root, files)}`;
  requireUnchanged(root, target);
  const mark = await readLauncherMark(root);
  return { root, version, files, target, units, ...(mark === undefined ? {} : { launcherMark: mark }) };
}

/** A program that is run from where it is installed is its own copy, and its folder has the digest of what it was. */
function requireUnchanged(root: string, target: string): void {
  if (dirname(root) !== LAYOUT.programs || !isProgramName(basename(root)) || root === target) return;
  const remedy = 'run install of the checkout or the release that it was installed from';
  throw new HoldfastError('PRECONDITION', `nothing was changed: ${root} is not as it was installed; ${remedy}`);
}

/** Whether the folder has the files of the program and no others, each with its content. */
export async function isIntact(at: string, { files, target }: Program): Promise<boolean> {
  const there = await listProgram(at, [...PROGRAM_ENTRIES, 'node_modules'], () => true);
  if (JSON.stringify(there) !== JSON.stringify(files)) return false;
  return target.endsWith(`-${await digestProgram(at, there)}`);
}
