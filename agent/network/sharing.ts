// What a host needs that shares its addresses' records with others.

import type { HostSession } from './host-session.ts';
import type { LocalAttachments } from './local-attachments.ts';
import type { OtherHosts } from './other-hosts.ts';

export interface Sharing {
  readonly session: HostSession;
  readonly local: LocalAttachments;
  readonly otherHosts: OtherHosts;
}
