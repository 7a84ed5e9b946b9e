// Gets a sandbox its addresses past what stands in the way: the pod's earlier sandbox is silenced, a host that lost its lease
// is waited for, and while the store is away the pod goes on with what it had.
import { setTimeout as delay } from 'node:timers/promises';
import { HoldfastError } from '../../lib/errors.ts';
import type { PodLinks } from '../host/network/pod-links.ts';
import { type Acquired, acquire, type Grant, type Granted } from './acquire.ts';
import type { AttachmentId } from './cni/request.ts';
import type { Custody } from './custody.ts';
import type { Inheritance } from './inherit.ts';
import type { LeaseContext } from './lease-context.ts';
import { findAttachment } from './list-attachments.ts';
import { hostNameOf } from './plan-link.ts';
import type { Elsewhere } from './reuse.ts';

/** A pod's address may have been on so many sandboxes of this host that nobody took off. */
const MOST_SILENCED = 8;
/** Hosts that an address is waited for, one after the other: each took it over from the one before it. */
const MOST_WAITS = 2;

/** With an address at least. */
export type Obtained = Granted & { readonly grants: readonly [Grant, ...Grant[]] };

export interface ObtainParts {
  readonly leases: LeaseContext;
  readonly links: PodLinks;
  /** undefined: no other host could take over anything. */
  readonly custody: Custody | undefined;
}

/**
 * @throws HoldfastError NO_ROOM; PRECONDITION; UNAVAILABLE when the store is away, or when the pod's address is somebody
 *   else's still; INVALID_CONFIG for a pool without subnets
 */
export async function obtain(parts: ObtainParts, request: Inheritance, signal: AbortSignal): Promise<Obtained> {
  const silenced: AttachmentId[] = [];
  for (let waits = 0; ; ) {
    const acquired = await acquireOrInherit(parts, { ...request, silenced }, signal);
    switch (acquired.kind) {
      case 'granted': {
        const [first, ...others] = acquired.grants;
        if (first !== undefined) return { ...acquired, grants: [first, ...others] };
        throw new HoldfastError('INVALID_CONFIG', `pool ${request.pool.name} has no subnet`);
      }
      case 'silence':
        await silence(parts, acquired.holder, silenced, signal);
        break;
      case 'elsewhere':
        if (acquired.waitMs === undefined || waits === MOST_WAITS) throw heldElsewhere(acquired);
        await delay(acquired.waitMs, undefined, { signal });
        waits += 1;
        break;
    }
  }
}

type AcquireRequest = Inheritance & { readonly silenced: readonly AttachmentId[] };

async function acquireOrInherit(
  { leases, custody }: ObtainParts,
  request: AcquireRequest,
  signal: AbortSignal,
): Promise<Acquired> {
  if (custody === undefined) return await acquire(leases, request, signal);
  const { id, owner } = request;
  try {
    if (owner.pod !== undefined) await custody.settlePod(owner.pod, id, signal);
    return await acquire(leases, request, signal);
  } catch (error) {
    if (!(error instanceof HoldfastError) || error.code !== 'UNAVAILABLE') throw error;
    const inherited = await custody.inherit(request, signal);
    if (inherited === undefined) throw error;
    return inherited;
  }
}

async function silence(
  { leases, links }: ObtainParts,
  holder: AttachmentId,
  silenced: AttachmentId[],
  signal: AbortSignal,
): Promise<void> {
  const held = await findAttachment(leases, holder, signal);
  if (held?.mode === 'ipam' || silenced.length >= MOST_SILENCED) {
    throw new HoldfastError(
      'UNAVAILABLE',
      `the pod's address is still on its earlier sandbox ${holder.containerId}, whose interface is another plugin's; it is free when that sandbox is taken off the network`,
    );
  }
  await links.quiesce(hostNameOf(holder), signal);
  silenced.push(holder);
}

function heldElsewhere({ address, host, waitMs }: Elsewhere): HoldfastError {
  const why =
    waitMs === undefined
      ? 'which has not given it back; if that host is gone for good, holdfast ip release --host gives up what it holds'
      : 'which lost its lease only just now';
  return new HoldfastError('UNAVAILABLE', `${address} is still held on host ${host}, ${why}; it is tried again`);
}
