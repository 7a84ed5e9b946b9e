// What answers a runtime, over a test's leases and interfaces.
import { pino } from 'pino';
import type { PodLinks } from '../../agent/host/network/pod-links.ts';
import { Announcements } from '../../agent/network/announcements.ts';
import { attachmentLocks, type Locked } from '../../agent/network/attachment-locks.ts';
import { Attachments } from '../../agent/network/attachments.ts';
import type { Custody } from '../../agent/network/custody.ts';
import type { LeaseContext } from '../../agent/network/lease-context.ts';
import { Owners } from '../../agent/network/owners.ts';
import { SandboxInterfaces } from '../../agent/network/sandbox-interfaces.ts';

export interface TestAttachmentsParts {
  readonly leases: LeaseContext;
  readonly links: PodLinks;
  readonly owners?: Owners;
  readonly custody?: Custody;
  readonly locked?: Locked;
  readonly announcements?: Announcements;
  readonly reach?: (point: string) => Promise<void>;
}

/** Open; the pool is the only one. */
export function testAttachments(parts: TestAttachmentsParts): Attachments {
  const logger = pino({ level: 'silent' });
  const { leases, links, custody, reach = async () => undefined } = parts;
  const { owners = new Owners({ appLabel: 'app', defaultIp: 'none', byNamespace: new Map() }) } = parts;
  const { locked = attachmentLocks(), announcements = new Announcements(links, logger) } = parts;
  const attachments = new Attachments({
    leases,
    links,
    owners,
    custody,
    interfaces: new SandboxInterfaces({ leases, links, custody, announcements, logger, reach }),
    locked,
    defaultPool: [...leases.pools.keys()][0],
  });
  attachments.open();
  return attachments;
}
