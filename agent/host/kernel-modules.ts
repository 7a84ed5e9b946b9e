// Which parts of the kernel are there: built in, loaded, or to be loaded when they are needed.
import os from 'node:os';
import { posix } from 'node:path';
import type { HostTree } from './host-tree.ts';

/** Some thousands of names with their paths. */
const LIST_LIMIT = { maxBytes: 16 * 1024 * 1024 };

/** Names as the kernel has them, of lines that begin with a module's path. */
function namesIn(text: string | undefined): readonly string[] {
  return (text ?? '').split('\n').flatMap((line) => {
    const name = /^([^:\s]+)\.ko(?:\.\w+)?(?::|$)/.exec(line)?.[1];
    return name === undefined ? [] : [posix.basename(name).replaceAll('-', '_')];
  });
}

/** @returns undefined where the host does not say: what is built in is named in the modules' folder only */
export async function readKernelModules(tree: HostTree): Promise<ReadonlySet<string> | undefined> {
  const folder = `/lib/modules/${os.release()}`;
  const builtIn = await tree.readText(`${folder}/modules.builtin`, LIST_LIMIT);
  if (builtIn === undefined) return undefined;
  const loadable = await tree.readText(`${folder}/modules.dep`, LIST_LIMIT);
  const loaded = (await tree.list('/sys/module')) ?? [];
  return new Set([...namesIn(builtIn.text), ...namesIn(loadable?.text), ...loaded]);
}
