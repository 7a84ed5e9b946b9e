// The feature's metrics, all with the prefix holdfast_reuse_.
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { LayerBook } from './book.ts';

export interface ReuseMetrics {
  readonly handovers: Counter;
  readonly handoverSeconds: Histogram;
  readonly rebuilds: Counter<'reason'>;
  readonly givenUp: Counter<'reason'>;
  readonly recovered: Counter<'outcome'>;
}

export function createMetrics(registry: Registry, book: LayerBook): ReuseMetrics {
  const registers = [registry];
  const layers = new Gauge({
    name: 'holdfast_reuse_layers',
    help: 'Writable layers on record, by whether a container holds them or a lease keeps them.',
    labelNames: ['state'],
    registers,
    collect: () => {
      const { attached, kept } = book.totals();
      layers.set({ state: 'attached' }, attached);
      layers.set({ state: 'kept' }, kept);
    },
  });
  const keptBytes: Gauge = new Gauge({
    name: 'holdfast_reuse_kept_bytes',
    help: 'Size of the kept layers as last measured.',
    registers,
    collect: () => keptBytes.set(book.totals().keptBytes),
  });
  const unfinished: Gauge = new Gauge({
    name: 'holdfast_reuse_unfinished_changes',
    help: 'Journalled changes that are neither completed nor undone yet.',
    registers,
    collect: () => unfinished.set(book.allEntries().size + book.drops().size),
  });
  return {
    handovers: new Counter({
      name: 'holdfast_reuse_handovers_total',
      help: 'Layers handed to a new container.',
      registers,
    }),
    handoverSeconds: new Histogram({
      name: 'holdfast_reuse_handover_seconds',
      help: 'Time that the hand-over added to CreateContainer.',
      buckets: [0.002, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.5, 2],
      registers,
    }),
    rebuilds: new Counter({
      name: 'holdfast_reuse_rebuilds_total',
      help: 'Containers with restart: reuse that began with an empty layer although there was one, or could not be served.',
      labelNames: ['reason'],
      registers,
    }),
    givenUp: new Counter({
      name: 'holdfast_reuse_given_up_total',
      help: 'Layers whose data was given up.',
      labelNames: ['reason'],
      registers,
    }),
    recovered: new Counter({
      name: 'holdfast_reuse_recovered_total',
      help: 'Unfinished changes found and resolved.',
      labelNames: ['outcome'],
      registers,
    }),
  };
}
