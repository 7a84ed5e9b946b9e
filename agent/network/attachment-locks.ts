// One thing at a time for each interface of each sandbox, whoever wants it: the runtime, the collector, the custody.
import { KeyedMutex } from '../../lib/keyed-mutex.ts';
import type { AttachmentId } from './cni/request.ts';

/** Runs the work when nothing else happens to the sandbox any more; the signal only ends the waiting. */
export type Locked = <Result>(id: AttachmentId, work: () => Promise<Result>, signal: AbortSignal) => Promise<Result>;

export function attachmentLocks(): Locked {
  const locks = new KeyedMutex();
  return ({ containerId, ifname }, work, signal) => locks.run(`${containerId}/${ifname}`, work, signal);
}
