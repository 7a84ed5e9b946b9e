// What hwloc's lstopo makes of a machine's tree, read from its XML. A small strict reader for the one document type
// that lstopo writes: elements with double-quoted attributes, no text, no CDATA.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { CpuSet } from '../../../agent/model/cpu-set.ts';

export interface HwlocObject {
  readonly type: string;
  /** The number that the operating system gives it; undefined when it gives none. */
  readonly osIndex: number | undefined;
  readonly cpus: CpuSet;
  /** Bytes; of a NUMANode only. */
  readonly localMemory: number;
  readonly attributes: ReadonlyMap<string, string>;
}

const ENTITIES: ReadonlyMap<string, string> = new Map([
  ['&lt;', '<'],
  ['&gt;', '>'],
  ['&quot;', '"'],
  ['&amp;', '&'],
  ['&#10;', '\n'],
  ['&#13;', '\r'],
  ['&#9;', '\t'],
]);

/** hwloc's bitmap format: `0x0000ffff,0xffffffff`, words of 32 bits, the highest first, leading `0x` on each; empty words allowed. */
export function parseHwlocSet(text: string): CpuSet {
  const numbers: number[] = [];
  for (const [position, word] of text.split(',').reverse().entries()) {
    if (!/^(0x[0-9a-f]{1,8})?$/.test(word)) throw new Error(`"${text}" is not a hwloc bitmap`);
    const value = word === '' ? 0 : Number.parseInt(word, 16);
    for (let bit = 0; bit < 32; bit += 1) if ((value >>> bit) & 1) numbers.push(position * 32 + bit);
  }
  return CpuSet.from(numbers);
}

function parseAttributes(text: string): ReadonlyMap<string, string> {
  const attributes = new Map<string, string>();
  let rest = text;
  while (rest.trim() !== '') {
    const match = /^\s+([\w:]+)="([^"<]*)"/.exec(rest);
    if (match?.[1] === undefined || match[2] === undefined) throw new Error(`unexpected attributes: ${text}`);
    const value = match[2].replaceAll(/&[^;]*;/g, (entity) => {
      const character = ENTITIES.get(entity);
      if (character === undefined) throw new Error(`unexpected entity ${entity}`);
      return character;
    });
    attributes.set(match[1], value);
    rest = rest.slice(match[0].length);
  }
  return attributes;
}

/** All `<object>` elements of lstopo's XML, in document order. @throws Error for anything it does not understand */
export function parseHwlocXml(xml: string): readonly HwlocObject[] {
  const objects: HwlocObject[] = [];
  const open: string[] = [];
  const body = xml.replace(/^<\?xml [^>]*\?>\s*<!DOCTYPE [^>]*>\s*/, '');
  for (const tag of body.split('<').slice(1)) {
    const match = /^(\/?)([a-z_0-9]+)((?:\s+[\w:]+="[^"]*")*)\s*(\/?)>([^<]*)$/.exec(tag);
    if (match === null) throw new Error(`unexpected XML: <${tag}`);
    const [, closing, name = '', attributeText = '', empty] = match;
    if (closing === '/') {
      if (open.pop() !== name) throw new Error(`</${name}> closes another element`);
      continue;
    }
    if (empty !== '/') open.push(name);
    if (name !== 'object') continue;
    const attributes = parseAttributes(attributeText);
    const osIndex = attributes.get('os_index');
    objects.push({
      type: attributes.get('type') ?? '',
      osIndex: osIndex === undefined ? undefined : Number(osIndex),
      cpus: parseHwlocSet(attributes.get('cpuset') ?? ''),
      localMemory: Number(attributes.get('local_memory') ?? 0),
      attributes,
    });
  }
  if (open.length > 0) throw new Error(`<${open.join('><')}> not closed`);
  return objects;
}

const run = promisify(execFile);

/** undefined when lstopo (Debian package hwloc-nox) is not installed. */
export async function lstopoVersion(): Promise<string | undefined> {
  try {
    return (await run('lstopo-no-graphics', ['--version'])).stdout.trim();
  } catch {
    return undefined;
  }
}

/**
 * Asks lstopo about a machine's tree.
 * `--disallowed` keeps CPUs and nodes that the tree's own cgroup forbids in the listing, as we do; what is allowed is
 * in the machine's `allowed_cpuset` and `allowed_nodeset`.
 */
export async function lstopo(root: string): Promise<readonly HwlocObject[]> {
  const { stdout } = await run('lstopo-no-graphics', ['--disallowed', '--of', 'xml'], {
    env: {
      PATH: process.env['PATH'],
      HWLOC_FSROOT: root,
      HWLOC_THISSYSTEM: '0',
      // Otherwise hwloc asks this machine's CPU, and caches of the wrong machine appear.
      HWLOC_COMPONENTS: 'linux,stop',
    },
    maxBuffer: 64 * 1024 * 1024,
  });
  return parseHwlocXml(stdout);
}
