// What tests need and takes minutes to make (machine images, a kubelet): made once, kept outside of the checkout under
// the hash of its inputs, and made again when it is not whole.
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { isErrno } from '../../lib/errors.ts';
import { withFileLock } from '../../lib/file-lock.ts';

/** Longer than any of the recipes takes on a slow machine: the second to come waits for the first to build. */
const LOCK_TIMEOUT_MS = 45 * 60_000;

/** Of each recipe: what is being worked on, and what was before. */
const KEPT_BUILDS = 2;

/** Written last: a folder without it was never finished. */
const CONTENTS_FILE = '.contents.json';

export interface Recipe {
  /** A word for the folder's name. */
  readonly name: string;
  /** Everything that the result depends on, as text: the steps, package lists, versions. */
  readonly inputs: readonly string[];
  /** Fills the empty folder. Called again in a new one after it failed. */
  readonly build: (folder: string) => Promise<void>;
  /** A look at a finished folder whose files have their sizes; false builds it anew. */
  readonly isSound?: (folder: string) => Promise<boolean>;
}

/** Size in bytes of each file below the folder, by its path in there. */
async function sizesBelow(folder: string): Promise<Readonly<Record<string, number>>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile() && entry.name !== CONTENTS_FILE);
  const sized = files.map(async (entry): Promise<readonly [string, number]> => {
    const path = join(entry.parentPath, entry.name);
    return [path.slice(folder.length + 1), (await stat(path)).size];
  });
  return Object.fromEntries((await Promise.all(sized)).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

async function isWhole(folder: string, { isSound }: Recipe): Promise<boolean> {
  try {
    const contents = await readFile(join(folder, CONTENTS_FILE), 'utf8');
    return contents === JSON.stringify(await sizesBelow(folder)) && (await isSound?.(folder)) !== false;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return false;
    throw error;
  }
}

/** Older builds of the recipe go, so that the cache does not grow with each change of its inputs. */
async function dropOldBuilds(root: string, name: string): Promise<void> {
  const names = (await readdir(root)).filter((entry) => new RegExp(`^${name}-[0-9a-f]{16}$`).test(entry));
  const dated = await Promise.all(
    names.map(async (entry) => ({ entry, date: (await stat(join(root, entry))).mtimeMs })),
  );
  for (const { entry } of dated.toSorted((a, b) => b.date - a.date).slice(KEPT_BUILDS)) {
    await rm(join(root, entry), { recursive: true, force: true });
  }
}

/** `$HOLDFAST_TEST_CACHE`, else a folder of the user's cache. */
export function cacheRoot(environment: Readonly<Record<string, string | undefined>> = process.env): string {
  return (
    environment['HOLDFAST_TEST_CACHE'] ??
    join(environment['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'holdfast-test')
  );
}

/**
 * The recipe's result: from the cache, or built now; only one process builds a recipe at a time.
 * @returns the folder with it, whose files must not be changed
 * @throws what `build` throws; nothing of it stays then
 */
export async function fromCache(recipe: Recipe, root = cacheRoot()): Promise<string> {
  const key = createHash('sha256').update(JSON.stringify(recipe.inputs)).digest('hex').slice(0, 16);
  const folder = join(root, `${recipe.name}-${key}`);
  await mkdir(root, { recursive: true });
  return withFileLock(`${folder}.lock`, LOCK_TIMEOUT_MS, async () => {
    if (await isWhole(folder, recipe)) return folder;
    const unfinished = `${folder}.unfinished`;
    await rm(unfinished, { recursive: true, force: true });
    await mkdir(unfinished);
    try {
      await recipe.build(unfinished);
      await writeFile(join(unfinished, CONTENTS_FILE), JSON.stringify(await sizesBelow(unfinished)));
      await rm(folder, { recursive: true, force: true });
      await rename(unfinished, folder);
    } catch (error) {
      await rm(unfinished, { recursive: true, force: true });
      throw error;
    }
    await dropOldBuilds(root, recipe.name);
    return folder;
  });
}
