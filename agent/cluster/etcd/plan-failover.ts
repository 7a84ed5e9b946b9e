// What a failed call to etcd means: whether it may have been carried out all the same, and whether another member may
// answer it. The difference decides whether a change may be sent again. Pure.
import { status } from '@grpc/grpc-js';
import type { ErrorCode } from '../../../lib/errors.ts';

/** A failure as gRPC tells it. */
export interface CallFailure {
  readonly code: status;
  readonly details: string;
}

export interface Verdict {
  /** False only when it is certain that nothing of the call was carried out. */
  readonly maybeApplied: boolean;
  /** Whether another member may do better. */
  readonly elsewhere: boolean;
  /** What the caller is told when nobody does better. */
  readonly code: ErrorCode;
  readonly advice?: string;
}

/** Nothing was sent, or etcd refused before it did anything; another member may be better off. */
const ELSEWHERE: Verdict = { maybeApplied: false, elsewhere: true, code: 'UNAVAILABLE' };
/** It was sent, and nobody knows. */
const UNKNOWN: Verdict = { maybeApplied: true, elsewhere: true, code: 'UNAVAILABLE' };

const refused = (code: ErrorCode, advice?: string): Verdict => ({
  maybeApplied: false,
  elsewhere: false,
  code,
  ...(advice === undefined ? {} : { advice }),
});

const NO_ACCESS = refused(
  'INVALID_CONFIG',
  'etcd asks for a user: let its certificate be one, with a role for the prefix',
);

/**
 * What etcd itself says, by the beginning of it (etcd's api/v3rpc/rpctypes, the same from 3.4 to 3.6). Only what it says
 * before it proposes a change to its members, or instead of making it, is here.
 */
const BY_DETAILS: readonly (readonly [start: string, verdict: Verdict])[] = [
  // Asked for by the metadata `hasleader`: a member that is cut off from the others says so at once.
  ['etcdserver: no leader', ELSEWHERE],
  ['etcdserver: too many requests', ELSEWHERE],
  ['etcdserver: not capable', ELSEWHERE],
  ['etcdserver: rpc not supported for learner', ELSEWHERE],
  [
    'etcdserver: mvcc: database space exceeded',
    refused('UNAVAILABLE', "etcd's database is full: compact and defragment it, then disarm its alarm"),
  ],
  ['etcdserver: mvcc: required revision has been compacted', refused('UNAVAILABLE')],
  ['etcdserver: requested lease not found', refused('NOT_FOUND')],
  ['etcdserver: request is too large', refused('INVALID_REQUEST')],
  ['etcdserver: too many operations', refused('INVALID_REQUEST')],
  ['etcdserver: user name is empty', NO_ACCESS],
  ['etcdserver: user name not found', NO_ACCESS],
];

/** What says by its gRPC status alone that nothing was done. */
const BY_CODE: ReadonlyMap<status, Verdict> = new Map([
  [status.INVALID_ARGUMENT, refused('BUG')],
  [status.PERMISSION_DENIED, NO_ACCESS],
  [status.UNAUTHENTICATED, NO_ACCESS],
  // Not etcd, or not its API of version 3.
  [status.UNIMPLEMENTED, { ...ELSEWHERE, code: 'UNSUPPORTED' } as const],
]);

/** How grpc-js begins to tell of a call for which there never was a connection. */
const NEVER_SENT = ['No connection established', 'Channel closed before call started', 'Name resolution failed'];

export function judgeFailure({ code, details }: CallFailure): Verdict {
  const known = BY_DETAILS.find(([start]) => details.startsWith(start));
  if (known !== undefined) return known[1];
  if (code === status.UNAVAILABLE && NEVER_SENT.some((start) => details.startsWith(start))) return ELSEWHERE;
  return BY_CODE.get(code) ?? UNKNOWN;
}
