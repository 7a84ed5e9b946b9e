// Which files of a checkout or an unpacked release are the program: what runs, the packages that it needs at run time,
// the units and the documentation. Pure.

/** Entries beside node_modules. Without tsconfig.build.json, so that the installed program never builds itself. */
export const PROGRAM_ENTRIES = [
  'CHANGELOG.md',
  'LICENSE',
  'README.md',
  'bin',
  'cni-plugin',
  'dist',
  'docs',
  'package.json',
  'systemd',
] as const;

/** Whether something at the top of a program's folder belongs to a program. */
export function isProgramEntry(name: string): boolean {
  return name === 'node_modules' || PROGRAM_ENTRIES.some((entry) => entry === name);
}

/** Whether a folder is named as those of installed programs: version and digest. */
export function isProgramName(name: string): boolean {
  return /^[A-Za-z0-9.+_-]{1,64}-[0-9a-f]{12}$/.test(name);
}

/** The parts of a package.json that say what it needs. */
export interface PackageNeeds {
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
}

/** Where Node.js would look for a package from a folder, nearest first; paths are relative to the program. */
export function candidates(from: string, name: string): readonly string[] {
  const found: string[] = [];
  let at = from;
  for (;;) {
    found.push(at === '' ? `node_modules/${name}` : `${at}/node_modules/${name}`);
    if (at === '') return found;
    const above = at.lastIndexOf('/node_modules/');
    at = above < 0 ? '' : at.slice(0, above);
  }
}

/** Names that a package needs, and whether it can do without. Type declarations are nothing at run time. */
export function needsOf({ dependencies, optionalDependencies, peerDependencies }: PackageNeeds) {
  const optional = new Set([...Object.keys(optionalDependencies ?? {}), ...Object.keys(peerDependencies ?? {})]);
  const names = new Set([...Object.keys(dependencies ?? {}), ...optional]);
  return [...names]
    .filter((name) => !name.startsWith('@types/') && name !== 'undici-types')
    .map((name) => ({ name, isOptional: optional.has(name) }));
}

/** What of the program's files is needed to run it; source maps and type declarations of packages are not. */
export function isProgramFile(path: string): boolean {
  // What holdfast install compiles on the host; its other form is in dist/.
  if (path.startsWith('cni-plugin/')) return path.endsWith('.c');
  if (path.startsWith('dist/')) return !path.endsWith('.map') && path !== 'dist/.stamp';
  if (!path.startsWith('node_modules/')) return true;
  return !/\.(?:map|[cm]?ts)$/.test(path) && !path.endsWith('/node_modules') && !path.endsWith('/.bin');
}
