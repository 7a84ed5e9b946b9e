// The feature's view of its records: in memory for reading, durable before it changes.
import { type Bytes, bytes } from '../model/quantity.ts';
import { type Change, del, put, type Store } from '../state/store.ts';
import { type ContainerLayers, DROPS, JOURNAL, type JournalEntry, type Kept, LAYERS } from './layer.ts';
import { isEmptyRecord, layersOf } from './plan-layers.ts';

/** What one commit changes; an absent field stays as it is. */
export interface Write {
  readonly layers?: ContainerLayers;
  /** undefined within the field closes the entry. */
  readonly entry?: JournalEntry | 'closed';
  /** To be removed from the host from now on. */
  readonly dropped?: readonly Kept[];
}

export class LayerBook {
  readonly #store: Store;
  readonly #layers: Map<string, ContainerLayers>;
  readonly #journal: Map<string, JournalEntry>;
  readonly #drops: Map<string, Kept>;

  /** Reads the store. */
  constructor(store: Store) {
    this.#store = store;
    this.#layers = new Map(store.entries(LAYERS));
    this.#journal = new Map(store.entries(JOURNAL));
    this.#drops = new Map(store.entries(DROPS));
  }

  layers(key: string): ContainerLayers | undefined {
    return this.#layers.get(key);
  }

  entry(key: string): JournalEntry | undefined {
    return this.#journal.get(key);
  }

  allLayers(): ReadonlyMap<string, ContainerLayers> {
    return this.#layers;
  }

  allEntries(): ReadonlyMap<string, JournalEntry> {
    return this.#journal;
  }

  drops(): ReadonlyMap<string, Kept> {
    return this.#drops;
  }

  /** How many layers containers hold and leases keep, and how large the kept ones are as far as they were measured. */
  totals(): { readonly attached: number; readonly kept: number; readonly keptBytes: Bytes } {
    const all = [...this.#layers.values()].flatMap(layersOf);
    const kept = all.filter(({ holder }) => holder.kind === 'kept');
    const keptBytes = bytes(kept.reduce((sum, { measured }) => sum + (measured?.size ?? 0), 0));
    return { attached: all.length - kept.length, kept: kept.length, keptBytes };
  }

  /** All or nothing; durable when it resolves. A record without layers is removed. */
  async write(key: string, { layers, entry, dropped = [] }: Write): Promise<void> {
    const changes: Change[] = [];
    const gone = layers !== undefined && isEmptyRecord(layers);
    if (gone) changes.push(del(LAYERS, key));
    else if (layers !== undefined) changes.push(put(LAYERS, key, layers));
    if (entry === 'closed') changes.push(del(JOURNAL, key));
    else if (entry !== undefined) changes.push(put(JOURNAL, key, entry));
    for (const kept of dropped) changes.push(put(DROPS, kept.lease, kept));
    if (changes.length > 0) await this.#store.commit(changes);
    if (gone) this.#layers.delete(key);
    else if (layers !== undefined) this.#layers.set(key, layers);
    if (entry === 'closed') this.#journal.delete(key);
    else if (entry !== undefined) this.#journal.set(key, entry);
    for (const kept of dropped) this.#drops.set(kept.lease, kept);
  }

  /** The dropped layer is no longer on the host. */
  async forgetDrop(lease: string): Promise<void> {
    await this.#store.commit([del(DROPS, lease)]);
    this.#drops.delete(lease);
  }
}
