// Several configuration files as one: maps are merged, everything else is replaced by the later file.
import { isPlainMap, type Plain, type PlainMap } from './source.ts';

/** A later null (a key without a value) takes the key back to its default. */
export function mergePlain(earlier: PlainMap, later: PlainMap): PlainMap {
  const merged = new Map<string, Plain>(Object.entries(earlier));
  for (const [key, value] of Object.entries(later)) {
    const before = merged.get(key);
    if (value === null) merged.delete(key);
    else merged.set(key, isPlainMap(value) ? mergePlain(isPlainMap(before) ? before : {}, value) : value);
  }
  return Object.fromEntries(merged);
}

/** The dotted paths of everything that is not a map. */
export function leafPaths(value: PlainMap, prefix: readonly string[] = []): readonly (readonly string[])[] {
  return Object.entries(value).flatMap(([key, item]) =>
    isPlainMap(item) ? leafPaths(item, [...prefix, key]) : [[...prefix, key]],
  );
}
