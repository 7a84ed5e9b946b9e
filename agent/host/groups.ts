// The host's groups, by name.
import fs from 'node:fs/promises';

/**
 * The number of a group in a group(5) file. Only the local file is asked: groups of directory services may come and
 * go with the network.
 * @returns undefined when there is no such group, or no such file
 */
export async function groupId(name: string, file = '/etc/group'): Promise<number | undefined> {
  const text = await fs.readFile(file, 'utf8').catch(() => '');
  return parseGroupId(text, name);
}

/** The pure part of {@link groupId}. */
export function parseGroupId(text: string, name: string): number | undefined {
  for (const line of text.split('\n')) {
    const [group, , id] = line.split(':');
    if (group === name && id !== undefined && /^\d{1,10}$/.test(id)) return Number(id);
  }
  return undefined;
}
