// Modules that run in a process or thread of their own, from a checkout (.ts) and from a build (.js) alike.
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * The file of a module in the same folder.
 * @param from - `import.meta.url` of the caller
 * @param name - without extension
 */
export function siblingModule(from: string, name: string): string {
  const file = fileURLToPath(from);
  return path.join(path.dirname(file), `${name}${path.extname(file)}`);
}
