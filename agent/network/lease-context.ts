// What every rule about addresses needs to be carried out.
import type { KeyedMutex } from '../../lib/keyed-mutex.ts';
import type { Address } from '../model/address.ts';
import type { PodReference } from '../model/pod.ts';
import type { LeaseStore } from './lease-store.ts';
import type { OtherHosts } from './other-hosts.ts';
import type { Pool } from './pool.ts';
import type { AppKey, Owner } from './records.ts';

export interface LeaseOptions {
  /** Milliseconds that a pod with `ip: keep` may be away. */
  readonly keepFor: number;
  /** Of each app and pool: so many pods' addresses at most, and milliseconds that one waits. */
  readonly reserve: { readonly cap: number; readonly keepFor: number };
  /** Milliseconds before an address that was given back is granted to anybody. */
  readonly cooldown: number;
}

/** One change of hands; addresses, names and times are what people ask for afterwards. */
export interface Handover {
  readonly address: Address;
  readonly pool: string;
  readonly event: 'granted' | 'kept' | 'reserved' | 'freed' | 'taken-over';
  /** Where it was before, or why it went. */
  readonly detail: string;
  readonly pod?: PodReference;
  readonly app?: AppKey;
  readonly containerId?: string;
}

/** Only saves time: what it says is looked at again before it is acted upon. */
export interface Hint {
  readonly block: bigint;
  /** A place of it that was free. */
  readonly offset: number;
  /** Others took places of it at the same moment. */
  readonly isCrowded: boolean;
}

/** Of {@link Handover}: for whom it is. */
export const whose = ({ pod, app }: Owner): Pick<Handover, 'pod' | 'app'> => ({
  ...(pod && { pod }),
  ...(app && { app }),
});

export interface LeaseContext {
  readonly store: LeaseStore;
  /** This host's name among those that share the store. */
  readonly host: string;
  /** Those that share the store; undefined: nobody does. */
  readonly otherHosts: OtherHosts | undefined;
  /** Of this host's changes; see `inTurn`. */
  readonly turns: KeyedMutex;
  /** By name. */
  readonly pools: ReadonlyMap<string, Pool>;
  readonly options: LeaseOptions;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Where this host takes its next address from, by pool and subnet; free-places.ts keeps them. */
  readonly hints: Map<string, Hint>;
  /** Is told of each change of hands after it is durable. */
  readonly onHandover: (handover: Handover) => void;
}
