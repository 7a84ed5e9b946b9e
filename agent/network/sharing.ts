// What a host needs that shares its addresses' records with others.
import type { Holdings } from './holdings.ts';
import type { HostSession } from './host-session.ts';
import type { OtherHosts } from './other-hosts.ts';

export interface Sharing {
  readonly session: HostSession;
  readonly holdings: Holdings;
  readonly otherHosts: OtherHosts;
}
