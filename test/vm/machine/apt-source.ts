// Where Debian packages come from: the archive that this machine's own apt uses, with another release of it.
import { readFile } from 'node:fs/promises';
import { run } from '../../../agent/cli/quickstart/command.ts';
import { HoldfastError } from '../../../lib/errors.ts';

/** Of debian-archive-keyring, which holds the keys of the releases before and after the machine's own. */
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

/** Formats of `apt-get indextargets`, one line for each index of packages. */
const FIELDS = ['REPO_URI', 'RELEASE', 'CODENAME', 'COMPONENT'] as const;

/**
 * The archive's address, from what `apt-get indextargets` prints; it knows both formats of sources and all of their files.
 * @param targets - lines of REPO_URI, RELEASE, CODENAME and COMPONENT, separated by blanks
 * @param codename - of the release that runs here
 * @returns undefined when no entry is about the release itself (updates and security are other archives)
 */
export function findArchive(targets: string, codename: string): string | undefined {
  const entries = targets.split('\n').map((line) => line.split(' '));
  return entries.find(
    ([, release, entryCodename, component]) =>
      component === 'main' && (release === codename || entryCodename === codename),
  )?.[0];
}

/** A field of os-release(5), without its quotes. */
export function osReleaseField(text: string, name: string): string | undefined {
  return new RegExp(`^${name}="?([^"\n]*)"?$`, 'm').exec(text)?.[1];
}

/**
 * The one line of a sources.list that gives `release` of the distribution that runs here.
 * @throws HoldfastError PRECONDITION when this machine is no Debian, or its apt knows no archive of it
 */
export async function aptSource(release: string): Promise<string> {
  const osRelease = await readFile('/etc/os-release', 'utf8');
  const codename = osReleaseField(osRelease, 'VERSION_CODENAME');
  if (osReleaseField(osRelease, 'ID') !== 'debian' || codename === undefined) {
    throw new HoldfastError('PRECONDITION', 'the image of the virtual machines can be built on Debian only');
  }
  const format = FIELDS.map((field) => `$(${field})`).join(' ');
  const targets = await run('apt-get', ['indextargets', '--format', format, 'Created-By: Packages']);
  const archive = findArchive(targets, codename);
  if (archive === undefined) {
    const what = `apt knows no archive of ${codename}, component main`;
    throw new HoldfastError('PRECONDITION', `${what}; add it to /etc/apt/sources.list.d and run apt-get update`);
  }
  return `deb [signed-by=${KEYRING}] ${archive} ${release} main`;
}
