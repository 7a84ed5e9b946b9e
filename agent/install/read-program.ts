// The program that is to be installed: the one that this process was started from.
import { z } from 'zod';
import { HoldfastError } from '../../lib/errors.ts';
import { digestProgram, listProgram, type ProgramFile, readProgramText } from '../host/program-tree.ts';
import { LAYOUT } from './layout.ts';
import { candidates, isProgramFile, needsOf, type PackageNeeds, PROGRAM_ENTRIES } from './program-files.ts';

export interface Program {
  /** Where it is now. */
  readonly root: string;
  readonly version: string;
  readonly files: readonly ProgramFile[];
  /** Where it is to be: one folder per build. */
  readonly target: string;
  /** Texts of systemd/ by file name. */
  readonly units: ReadonlyMap<string, string>;
}

const names = z.record(z.string(), z.string()).optional();
const packageSchema = z.looseObject({
  version: z.string().optional(),
  dependencies: names,
  optionalDependencies: names,
  peerDependencies: names,
});

const UNIT_FILES = ['holdfast-agent.service', 'holdfast-cri-shim.service', 'holdfast-cri-shim.socket'];
const SYSUSERS_FILE = 'holdfast.sysusers.conf';

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
async function neededPackages(root: string, exists: (folder: string) => boolean): Promise<readonly string[]> {
  const found = new Set<string>();
  const visit = async (folder: string, needs: PackageNeeds): Promise<void> => {
    for (const { name, isOptional } of needsOf(needs)) {
      const at = candidates(folder, name).find(exists);
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
  for (const name of [...UNIT_FILES, SYSUSERS_FILE]) units.set(name, await readProgramText(root, `systemd/${name}`));
  return units;
}

/** Reads all that makes the program: its files, and what tells this build from another. */
export async function readProgram(root: string): Promise<Program> {
  const { version = '0' } = await readPackage(root, '');
  if (!/^[A-Za-z0-9.+_-]{1,64}$/.test(version)) {
    throw new HoldfastError('PRECONDITION', `${root}/package.json has the version "${version}", which is no name`);
  }
  const manifests = await listProgram(root, ['node_modules'], (path) => isFolderOrManifest(path));
  const folders = new Set(manifests.map(({ path }) => path.replace(/\/package\.json$/, '')));
  const packages = await neededPackages(root, (folder) => folders.has(folder));
  const files = await listProgram(root, [...PROGRAM_ENTRIES, ...packages], isProgramFile);
  if (!files.some(({ path }) => path === 'dist/agent/main.js')) {
    throw new HoldfastError('PRECONDITION', `${root} is not built; run npm ci && npm run build there first`);
  }
  const units = await readUnitTexts(root);
  const target = `${LAYOUT.programs}/${version}-${await digestProgram(root, files)}`;
  return { root, version, files, target, units };
}

/** node_modules/x, node_modules/@x/y and the same below them; nothing else in packages is looked at. */
function isFolderOrManifest(path: string): boolean {
  const below = path.split('node_modules').at(-1) ?? '';
  return /^(?:\/(?:@[^/]+(?:\/[^/]+)?|[^/@][^/]*))?(?:\/package\.json)?$/.test(below) && !path.endsWith('/.bin');
}

/** Whether the folder has exactly the program: nothing was changed in it or lost from it. */
export async function isIntact(at: string, program: Program): Promise<boolean> {
  const entries = [...PROGRAM_ENTRIES, 'node_modules'];
  const there = await listProgram(at, entries, () => true);
  if (there.length !== program.files.length) return false;
  return program.target.endsWith(`-${await digestProgram(at, there)}`);
}
