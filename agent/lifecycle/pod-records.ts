// The pods that hold something, so that their holdings can end even when no sandbox of theirs is left to tell of them.
import { z } from 'zod';
import { type PodUid, podUid } from '../model/ids.ts';
import { del, put, type Store, type Table } from '../state/store.ts';

const POD = z.object({ namespace: z.string(), name: z.string() });
export type PodRecord = z.infer<typeof POD>;

/** By pod UID. */
export const POD_TABLE: Table<PodRecord> = { name: 'pods', schema: POD };

export interface PodRecords {
  entries(): ReadonlyMap<PodUid, PodRecord>;
  /** Durable when it resolves; writes nothing when the pod is known. */
  remember(uid: PodUid, record: PodRecord): Promise<void>;
  forget(uid: PodUid): Promise<void>;
}

export function openPodRecords(store: Store): PodRecords {
  const known = new Map([...store.entries(POD_TABLE)].map(([uid, record]) => [podUid(uid), record]));
  return {
    entries: () => known,
    remember: async (uid, record) => {
      if (known.has(uid)) return;
      await store.commit([put(POD_TABLE, uid, record)]);
      known.set(uid, record);
    },
    forget: async (uid) => {
      await store.commit([del(POD_TABLE, uid)]);
      known.delete(uid);
    },
  };
}
