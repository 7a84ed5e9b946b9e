// What this host's sandboxes have, written down on the host itself: a store that several hosts share cannot be asked while it
// is away, and then it must be known whose interfaces have to be silent, and what a pod that is restarted had.
import { z } from 'zod';
import { KeyedMutex } from '../../lib/keyed-mutex.ts';
import type { LinkPlan } from '../host/network/pod-links.ts';
import type { PodReference } from '../model/pod.ts';
import { del, put, type Store, type Table } from '../state/store.ts';
import type { AttachmentId } from './cni/request.ts';
import { type AttachmentRecord, attachmentSchema } from './records.ts';

export interface LocalAttachment {
  readonly id: AttachmentId;
  readonly record: AttachmentRecord;
  /** Absent: the interface is another plugin's. */
  readonly plan?: LinkPlan;
  /**
   * Its sandbox is off the network, and the store has not been told (`untold`), or may have been (`unclear`): then it may
   * have granted the addresses to somebody else.
   */
  readonly leaving?: 'untold' | 'unclear';
  /**
   * The pod's earlier sandboxes, the oldest first, one of which has the addresses as far as the store knows: they were handed
   * over while it could not be asked.
   */
  readonly from?: readonly AttachmentId[];
  /** Not all of the addresses are its own any more, and never will be again: nothing of it goes up, or to another sandbox. */
  readonly isLost?: true;
}

const idSchema = z.object({ network: z.string(), containerId: z.string(), ifname: z.string() });

const dataPlaneSchema = z.discriminatedUnion('mode', [
  z.object({
    mode: z.literal('bridge'),
    bridge: z.string(),
    uplink: z.string().exactOptional(),
    mtu: z.number().exactOptional(),
    hairpin: z.boolean(),
  }),
  z.object({ mode: z.literal('routed'), mtu: z.number().exactOptional() }),
]);

/** As JSON has it: what is undefined is absent. */
const planSchema: z.ZodType<LinkPlan> = z.object({
  hostName: z.string(),
  ifname: z.string(),
  mac: z.string(),
  dataPlane: dataPlaneSchema,
  addresses: z.array(
    z
      .object({
        address: z.string(),
        family: z.literal([4, 6]),
        prefixLength: z.int(),
        gateway: z.string().optional(),
      })
      .transform(({ gateway, ...rest }) => ({ ...rest, gateway })),
  ),
  routes: z.array(
    z.object({ destination: z.string(), via: z.string().optional() }).transform(({ destination, via }) => ({
      destination,
      via,
    })),
  ),
  defaultRoute: z.boolean().exactOptional(),
});

const LOCAL_ATTACHMENTS: Table<LocalAttachment> = {
  name: 'network-attachments',
  schema: z.object({
    id: idSchema,
    record: attachmentSchema,
    plan: planSchema.exactOptional(),
    leaving: z.enum(['untold', 'unclear']).exactOptional(),
    from: z.array(idSchema).exactOptional(),
    isLost: z.literal(true).exactOptional(),
  }),
};

const keyOf = ({ network, containerId, ifname }: AttachmentId): string =>
  JSON.stringify([network, containerId, ifname]);

/** Who calls sees to it that only one change of a sandbox is under way at a time, but for what {@link LocalAttachments.change} does. */
export class LocalAttachments {
  readonly #store: Store;
  readonly #all: Map<string, LocalAttachment>;
  /** Of the changes of each sandbox: what a change begins with must not be another one's past. */
  readonly #turns = new KeyedMutex();

  /** Reads the store. */
  constructor(store: Store) {
    this.#store = store;
    this.#all = new Map(store.entries(LOCAL_ATTACHMENTS));
  }

  all(): readonly LocalAttachment[] {
    return [...this.#all.values()];
  }

  get(id: AttachmentId): LocalAttachment | undefined {
    return this.#all.get(keyOf(id));
  }

  /** The latest of the pod's sandboxes with that interface in that network. */
  ofPod(pod: PodReference, { network, ifname }: Omit<AttachmentId, 'containerId'>): LocalAttachment | undefined {
    return this.all()
      .filter(({ id, record: { owner }, isLost }) => {
        if (isLost === true || id.network !== network || id.ifname !== ifname) return false;
        return owner.pod?.namespace === pod.namespace && owner.pod.name === pod.name;
      })
      .toSorted((one, other) => one.record.since - other.record.since)
      .at(-1);
  }

  /** The one that has got the sandbox's addresses without the store. */
  heirOf(id: AttachmentId): LocalAttachment | undefined {
    const key = keyOf(id);
    return this.all().find(({ from = [] }) => from.some((each) => keyOf(each) === key));
  }

  /**
   * Durable when it resolves.
   * @param instead - is not held any more
   */
  async put(attachment: LocalAttachment, instead?: AttachmentId): Promise<void> {
    const key = keyOf(attachment.id);
    await this.#turns.run(key, async () => {
      const removed = instead === undefined ? [] : [del(LOCAL_ATTACHMENTS, keyOf(instead))];
      await this.#store.commit([...removed, put(LOCAL_ATTACHMENTS, key, attachment)]);
      if (instead !== undefined) this.#all.delete(keyOf(instead));
      this.#all.set(key, attachment);
    });
  }

  /** Nothing happens when it is not held any more. Durable when it resolves. */
  async change(id: AttachmentId, how: (there: LocalAttachment) => LocalAttachment): Promise<void> {
    const key = keyOf(id);
    await this.#turns.run(key, async () => {
      const there = this.#all.get(key);
      if (there === undefined) return;
      const changed = how(there);
      await this.#store.commit([put(LOCAL_ATTACHMENTS, key, changed)]);
      this.#all.set(key, changed);
    });
  }

  async remove(id: AttachmentId): Promise<void> {
    const key = keyOf(id);
    await this.#turns.run(key, async () => {
      if (!this.#all.has(key)) return;
      await this.#store.commit([del(LOCAL_ATTACHMENTS, key)]);
      this.#all.delete(key);
    });
  }
}
