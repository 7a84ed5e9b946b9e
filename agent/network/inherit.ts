// A pod that is restarted while the store is away goes on with what its earlier sandbox on this host had: nobody else can get
// that as long as this host's lease holds.
import type { PodLinks } from '../host/network/pod-links.ts';
import { parseAddress } from '../model/address.ts';
import type { Grant, Granted } from './acquire.ts';
import type { Locked } from './attachment-locks.ts';
import type { AttachmentId } from './cni/request.ts';
import type { HostSession } from './host-session.ts';
import type { LeaseContext } from './lease-context.ts';
import type { LocalAttachment, LocalAttachments } from './local-attachments.ts';
import { hostNameOf } from './plan-link.ts';
import { type Pool, subnetOf } from './pool.ts';
import type { AttachmentRecord, Owner } from './records.ts';

export interface Inheritance {
  readonly id: AttachmentId;
  readonly pool: Pool;
  readonly owner: Owner;
  readonly mode: AttachmentRecord['mode'];
  readonly netns: string;
}

export interface InheritParts {
  readonly leases: Pick<LeaseContext, 'now'>;
  readonly links: Pick<PodLinks, 'quiesce'>;
  readonly session: Pick<HostSession, 'isValid'>;
  readonly local: LocalAttachments;
  readonly locked: Locked;
  /** Whether what the sandbox has was seen to be its own under the present lease. */
  readonly isSure: (id: AttachmentId) => boolean;
}

/** The store is told of all of them in one change. */
const LONGEST_LINE = 8;

/**
 * Durable when it resolves. The caller has the lock of the new sandbox.
 * @returns undefined when there is nothing that the sandbox may have
 */
export async function inherit(
  parts: InheritParts,
  request: Inheritance,
  signal: AbortSignal,
): Promise<Granted | undefined> {
  const { session, local, locked, isSure } = parts;
  const { id, pool, owner } = request;
  if (!session.isValid()) return undefined;
  const own = local.get(id);
  if (own !== undefined) {
    const isOwn = own.leaving === undefined && own.isLost === undefined && isSure(id);
    return isOwn ? grantedOf(own.record, pool, false) : undefined;
  }
  const former = owner.pod && local.ofPod(owner.pod, id);
  if (former === undefined || !mayInherit(owner, former)) return undefined;
  return await locked(former.id, () => takeOver(parts, request, former.id, signal), signal);
}

/** Who does not keep addresses has them for this life only. */
function mayInherit({ ip, uid }: Owner, { record: { owner } }: LocalAttachment): boolean {
  return (ip === 'keep' && owner.ip === 'keep') || (uid !== undefined && uid === owner.uid && ip === owner.ip);
}

async function takeOver(
  { leases, links, local, isSure }: InheritParts,
  { id, pool, owner, mode, netns }: Inheritance,
  formerId: AttachmentId,
  signal: AbortSignal,
): Promise<Granted | undefined> {
  const former = local.get(formerId);
  const line = [...(former?.from ?? []), formerId];
  if (former === undefined || former.isLost === true || former.leaving === 'unclear') return undefined;
  if (line.length > LONGEST_LINE || !isSure(formerId)) return undefined;
  const record = { ...former.record, owner, mode, netns, since: leases.now() };
  const granted = grantedOf(record, pool, true);
  if (granted === undefined) return undefined;
  if (former.leaving === undefined) {
    // Nobody but its own plugin can silence it.
    if (former.plan === undefined) return undefined;
    await links.quiesce(hostNameOf(formerId), signal);
  }
  await local.put({ id, record, from: line }, formerId);
  return granted;
}

function grantedOf(record: AttachmentRecord, pool: Pool, isNew: boolean): Granted | undefined {
  if (record.pool !== pool.name) return undefined;
  const grants = record.addresses.flatMap(({ address }): Grant[] => {
    const subnet = subnetOf(pool, parseAddress(address));
    return subnet === undefined ? [] : [{ address, subnet }];
  });
  if (grants.length !== record.addresses.length) return undefined;
  return { kind: 'granted', grants, record, isNew, isChanged: false, isMoved: false };
}
