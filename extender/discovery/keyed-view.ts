// What the API server told of objects of one kind, by name: whoever listens hears of each object that comes, changes or
// goes, once. Pure.
import type { ObjectEvent, ObjectList } from '../../agent/cluster/api-objects.ts';
import type { ObjectView } from '../../agent/cluster/follow-objects.ts';
import { isOlder } from '../../agent/cluster/resource-version.ts';

export interface Versioned {
  /** Stays the object's own: the UID, or the name where names are not used again for another meaning. */
  readonly key: string;
  readonly resourceVersion: string;
}

export interface KeyedListener<Item> {
  readonly onItem: (item: Item) => void;
  readonly onGone: (key: string) => void;
}

export class KeyedView<Item extends Versioned> implements ObjectView<Item> {
  readonly #listener: KeyedListener<Item>;
  /** The version that was seen last, by key. */
  readonly #seen = new Map<string, string>();
  #resourceVersion: string | undefined;
  #origin: string | undefined;

  constructor(listener: KeyedListener<Item>) {
    this.#listener = listener;
  }

  get size(): number {
    return this.#seen.size;
  }

  get resourceVersion(): string | undefined {
    return this.#resourceVersion;
  }

  get origin(): string | undefined {
    return this.#origin;
  }

  list({ items, resourceVersion, complete, origin }: ObjectList<Item> & { readonly origin: string }): boolean {
    const isElsewhere = this.#resourceVersion !== undefined && origin !== this.#origin;
    const listed = new Set(items.map(({ key }) => key));
    let changed = false;
    for (const key of complete || isElsewhere ? [...this.#seen.keys()] : []) {
      if (listed.has(key)) continue;
      this.#drop(key);
      changed = true;
    }
    for (const item of items) changed = this.#put(item) || changed;
    this.#resourceVersion = resourceVersion;
    this.#origin = origin;
    return changed;
  }

  apply({ type, item }: ObjectEvent<Item>): boolean {
    this.advance(item.resourceVersion);
    if (type !== 'DELETED') return this.#put(item);
    if (!this.#seen.has(item.key)) return false;
    this.#drop(item.key);
    return true;
  }

  advance(resourceVersion: string): void {
    const before = this.#resourceVersion;
    if (before === undefined || isOlder(resourceVersion, before) !== true) this.#resourceVersion = resourceVersion;
  }

  #put(item: Item): boolean {
    const before = this.#seen.get(item.key);
    if (before === item.resourceVersion) return false;
    if (before !== undefined && isOlder(item.resourceVersion, before) === true) return false;
    this.#seen.set(item.key, item.resourceVersion);
    this.#listener.onItem(item);
    return true;
  }

  #drop(key: string): void {
    this.#seen.delete(key);
    this.#listener.onGone(key);
  }
}
