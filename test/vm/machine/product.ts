// The build under test as a disk: what an installed Holdfast consists of, and nothing of the checkout's tools.
import { createHash } from 'node:crypto';
import { cp, mkdir, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { isErrno } from '../../../lib/errors.ts';
import { fromCache } from '../../support/build-cache.ts';
import { PRODUCT_LABEL } from './guest-files.ts';
import { runTool } from './tools.ts';

export const CHECKOUT = fileURLToPath(new URL('../../..', import.meta.url));

/** What is installed, beside the dependencies. */
const PARTS = ['bin', 'dist', 'systemd', 'package.json', 'LICENSE', 'README.md'];

const SPARE_BYTES = 64 * 1024 ** 2;

const lockFile = z.object({
  packages: z.record(z.string(), z.object({ dev: z.boolean().optional(), devOptional: z.boolean().optional() })),
});

/** Folders of the packages that the programs need, from package-lock.json; some are for other platforms. */
export function productionPackages(lock: unknown): readonly string[] {
  const { packages } = lockFile.parse(lock);
  const needed = Object.entries(packages).filter(([path, { dev, devOptional }]) => path !== '' && !dev && !devOptional);
  return needed.map(([path]) => path);
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    (error: unknown) => {
      if (isErrno(error, 'ENOENT')) return false;
      throw error;
    },
  );
}

async function filesBelow(part: string): Promise<readonly string[]> {
  const path = join(CHECKOUT, part);
  if (!(await stat(path)).isDirectory()) return [part];
  const entries = await readdir(path, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(CHECKOUT.length));
}

/** One line for each file, with the hash of its content. */
async function contents(): Promise<readonly string[]> {
  const files = (await Promise.all(PARTS.map(filesBelow))).flat().toSorted();
  const lines = files.map(async (file) => {
    const content = await readFile(join(CHECKOUT, file));
    return `${createHash('sha256').update(content).digest('hex')} ${file}`;
  });
  return Promise.all(lines);
}

async function build(folder: string, packages: readonly string[]): Promise<void> {
  const staging = join(folder, 'staging');
  await mkdir(staging);
  for (const part of PARTS) await cp(join(CHECKOUT, part), join(staging, part), { recursive: true });
  for (const path of packages) {
    const from = join(CHECKOUT, path);
    // A package's own dependencies are entries of the list.
    const filter = (file: string): boolean => !file.slice(from.length).startsWith('/node_modules');
    if (await exists(from)) await cp(from, join(staging, path), { recursive: true, filter });
  }
  const used = Number((await runTool('du', ['--summarize', '--bytes', staging])).split('\t')[0]);
  const disk = join(folder, 'disk.raw');
  await writeFile(disk, '');
  await truncate(disk, Math.ceil((used * 1.5 + SPARE_BYTES) / 4096) * 4096);
  await runTool('mkfs.ext4', ['-q', '-F', '-L', PRODUCT_LABEL, '-N', '32768', '-d', staging, disk]);
  await rm(staging, { recursive: true, force: true });
}

/** Builds dist/ where it is older than its sources, and the disk where the cache has none with the same content. */
export async function productDisk(): Promise<string> {
  await runTool(process.execPath, [join(CHECKOUT, 'scripts/build.mjs')]);
  const lock = await readFile(join(CHECKOUT, 'package-lock.json'), 'utf8');
  const packages = productionPackages(JSON.parse(lock));
  const inputs = [PRODUCT_LABEL, lock, ...(await contents())];
  const folder = await fromCache({ name: 'vm-product', inputs, build: (empty) => build(empty, packages) });
  return join(folder, 'disk.raw');
}
