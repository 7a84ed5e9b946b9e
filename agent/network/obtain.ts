// Gets a sandbox its addresses past what stands in the way: the pod's earlier sandbox is silenced, a host that lost its lease
// is waited for, and while the store is away the pod goes on with what it had.
import { setTimeout as delay } from 'node:timers/promises';
import { HoldfastError } from '../../lib/errors.ts';
import type { PodLinks } from '../host/network/pod-links.ts';
import { type Acquired, acquire, type Grant, type Granted } from './acquire.ts';
import type { Locked } from './attachment-locks.ts';
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
export type Obtained = Granted & {
  readonly grants: readonly [Grant, ...Grant[]];
  /** Of this host when they were asked for; undefined where there is none. */
  readonly lease: string | undefined;
};

export interface ObtainParts {
  readonly leases: LeaseContext;
  readonly links: PodLinks;
  /** undefined: no other host could take over anything. */
  readonly custody: Custody | undefined;
  readonly locked: Locked;
}

/**
 * The caller has the lock of the sandbox, and that of its pod if it keeps its addresses.
 * @throws HoldfastError NO_ROOM; PRECONDITION; UNAVAILABLE when the store is away, or when the pod's address is somebody
 *   else's still; INVALID_CONFIG for a pool without subnets
 */
export async function obtain(parts: ObtainParts, request: Inheritance, signal: AbortSignal): Promise<Obtained> {
  for (let waits = 0; ; ) {
    // Before anything is granted: what holds under this one may not under the next.
    const lease = parts.custody?.lease;
    const acquired = await acquireOrInherit(parts, request, signal);
    switch (acquired.kind) {
      case 'granted': {
        const [first, ...others] = acquired.grants;
        if (first !== undefined) return { ...acquired, grants: [first, ...others], lease };
        throw new HoldfastError('INVALID_CONFIG', `pool ${request.pool.name} has no subnet`);
      }
      case 'elsewhere':
        if (acquired.waitMs === undefined || waits === MOST_WAITS) throw heldElsewhere(acquired);
        await delay(acquired.waitMs, undefined, { signal });
        waits += 1;
        break;
    }
  }
}

type Answer = Exclude<Acquired, { readonly kind: 'silence' }>;

async function acquireOrInherit(parts: ObtainParts, request: Inheritance, signal: AbortSignal): Promise<Answer> {
  const { custody } = parts;
  if (custody === undefined) return await acquirePast(parts, request, [], signal);
  const { id, owner } = request;
  try {
    if (owner.pod !== undefined) await custody.settlePod(owner.pod, id, signal);
    return await acquirePast(parts, request, [], signal);
  } catch (error) {
    if (!(error instanceof HoldfastError) || error.code !== 'UNAVAILABLE') throw error;
    const inherited = await custody.inherit(request, signal);
    if (inherited === undefined) throw error;
    return inherited;
  }
}

/** What is silenced stays so until the addresses are on record as this sandbox's: nobody puts it up again in between. */
async function acquirePast(
  parts: ObtainParts,
  request: Inheritance,
  silenced: readonly AttachmentId[],
  signal: AbortSignal,
): Promise<Answer> {
  const acquired = await acquire(parts.leases, { ...request, silenced }, signal);
  if (acquired.kind !== 'silence') return acquired;
  const { holder } = acquired;
  const goOn = async (): Promise<Answer> => {
    await silence(parts, holder, silenced, signal);
    return await acquirePast(parts, request, [...silenced, holder], signal);
  };
  return await parts.locked(holder, goOn, signal);
}

async function silence(
  { leases, links }: ObtainParts,
  holder: AttachmentId,
  silenced: readonly AttachmentId[],
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
}

function heldElsewhere({ address, host, waitMs }: Elsewhere): HoldfastError {
  const why =
    waitMs === undefined
      ? 'which has not given it back; if that host is gone for good, holdfast ip release --host gives up what it holds'
      : 'which lost its lease only just now';
  return new HoldfastError('UNAVAILABLE', `${address} is still held on host ${host}, ${why}; it is tried again`);
}
