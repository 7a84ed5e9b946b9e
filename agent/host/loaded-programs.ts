// Which installed build a process runs: the folder from which it has mapped native modules.
import type { HostTree } from './host-tree.ts';

/** A few hundred lines of some hundred bytes for a Node.js process. */
const MAPS_LIMIT = { maxBytes: 8 * 1024 * 1024, longer: 'cut' } as const;

/**
 * @param below - folder that holds one folder per build
 * @returns the path of the build's folder; undefined when the process is gone or maps nothing from there
 */
export async function findLoadedProgram(tree: HostTree, pid: number, below: string): Promise<string | undefined> {
  const maps = await tree.readText(`/proc/${pid}/maps`, MAPS_LIMIT);
  return parseLoadedProgram(maps?.text ?? '', below);
}

/** The pure part of {@link findLoadedProgram}. @param maps - /proc/<pid>/maps (proc(5)) */
export function parseLoadedProgram(maps: string, below: string): string | undefined {
  for (const line of maps.split('\n')) {
    const at = line.indexOf(` ${below}/`);
    const name = at < 0 ? undefined : line.slice(at + below.length + 2).split('/')[0];
    if (name !== undefined && name !== '') return `${below}/${name}`;
  }
  return undefined;
}
