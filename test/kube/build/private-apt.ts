// An apt beside the machine's own: the same sources and keys with source packages added, its lists and downloads in a
// folder. Nothing is installed, and nothing of the machine's configuration is written.
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isErrno } from '../../../lib/errors.ts';
import { runProgram } from './programs.ts';

const SOURCES_FILE = '/etc/apt/sources.list';
const SOURCES_FOLDER = '/etc/apt/sources.list.d';

export interface PrivateApt {
  /** Downloads a binary package and unpacks its files below the folder. */
  readonly unpack: (name: string, folder: string) => Promise<void>;
  /** Downloads a source package and unpacks it, Debian's patches applied, as the folder, which must not exist. */
  readonly unpackSource: (name: string, folder: string) => Promise<void>;
}

/** sources.list(5), the format of one line per source: each line of packages is followed by one of their sources. */
export function withSourceLines(text: string): string {
  return text
    .split('\n')
    .flatMap((line) => (/^\s*deb\s/.test(line) ? [line, line.replace(/deb/, 'deb-src')] : [line]))
    .join('\n');
}

/** sources.list(5), the format of paragraphs. */
export function withSourceTypes(text: string): string {
  return text.replaceAll(/^Types:.*\bdeb\b(?!-).*$/gim, 'Types: deb deb-src');
}

async function writeSources(root: string, folder: string): Promise<void> {
  const oneLine = await readFile(join(root, SOURCES_FILE), 'utf8').catch((error: unknown) => {
    if (isErrno(error, 'ENOENT')) return '';
    throw error;
  });
  await writeFile(join(folder, 'sources.list'), withSourceLines(oneLine));
  for (const name of await readdir(join(root, SOURCES_FOLDER))) {
    const text = await readFile(join(root, SOURCES_FOLDER, name), 'utf8');
    if (name.endsWith('.list')) await writeFile(join(folder, name), withSourceLines(text));
    if (name.endsWith('.sources')) await writeFile(join(folder, name), withSourceTypes(text));
  }
}

async function onlyEntry(folder: string, isWanted: (name: string) => boolean): Promise<string> {
  const [name, ...more] = (await readdir(folder)).filter(isWanted);
  if (name === undefined || more.length > 0) throw new Error(`apt-get left ${more.length + 1} results in ${folder}`);
  return join(folder, name);
}

/**
 * Reads the package lists.
 * @param scratch - an empty folder of the caller's, who removes it
 * @param root - for another machine's /etc/apt
 */
export async function openPrivateApt(scratch: string, root = '/'): Promise<PrivateApt> {
  const [sources, lists, cache] = ['sources', 'lists', 'cache'].map((name) => join(scratch, name));
  if (sources === undefined || lists === undefined || cache === undefined) throw new Error('three folders are named');
  await mkdir(sources);
  await mkdir(join(lists, 'partial'), { recursive: true });
  await mkdir(join(cache, 'archives/partial'), { recursive: true });
  await writeSources(root, sources);
  const settings = {
    'Dir::Etc::sourcelist': '/dev/null',
    'Dir::Etc::sourceparts': sources,
    'Dir::State::lists': lists,
    'Dir::Cache': cache,
    // Its unprivileged user cannot enter our folder.
    'APT::Sandbox::User': 'root',
  };
  const options = Object.entries(settings).flatMap(([key, value]) => ['-o', `${key}=${value}`]);
  const apt = (args: readonly string[], cwd: string): Promise<string> =>
    runProgram('apt-get', [...options, '--quiet', ...args], { cwd, env: { LC_ALL: 'C.UTF-8' } });
  await apt(['update'], scratch);
  const inFolder = async <Result>(name: string, work: (folder: string) => Promise<Result>): Promise<Result> => {
    const folder = join(scratch, name);
    await mkdir(folder);
    return work(folder);
  };
  return {
    unpack: (name, folder) =>
      inFolder(name, async (downloads) => {
        await apt(['download', name], downloads);
        const archive = await onlyEntry(downloads, (entry) => entry.endsWith('.deb'));
        await runProgram('dpkg-deb', ['--extract', archive, folder]);
      }),
    unpackSource: (name, folder) =>
      inFolder(`${name}-source`, async (downloads) => {
        await apt(['source', '--download-only', '--only-source', name], downloads);
        const description = await onlyEntry(downloads, (entry) => entry.endsWith('.dsc'));
        await runProgram('dpkg-source', ['--no-check', '--extract', description, folder]);
      }),
  };
}
