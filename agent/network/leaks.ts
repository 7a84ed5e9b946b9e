// Finds what sandboxes left behind that nobody took off the network, as after a power cut. An address is valid until
// proven leaked: seen leaked twice with time between, and looked at once more under the sandbox's lock before it goes.
import type { AttachmentId } from './cni/request.ts';
import type { ListedAttachment } from './list-attachments.ts';

/** What the host and the runtime have now. */
export interface Presence {
  /** Of all sandboxes that the runtime knows, in any state. */
  readonly sandboxIds: ReadonlySet<string>;
  /** Paths of network namespaces that are there, and of those that processes live in; of attachments in question only. */
  readonly present: ReadonlySet<string>;
  readonly inhabited: ReadonlySet<string>;
}

/** Attachments that the runtime knows nothing of: it may have lost its own records, so that alone proves nothing. */
export function inQuestion(
  attachments: readonly ListedAttachment[],
  sandboxIds: ReadonlySet<string>,
): readonly ListedAttachment[] {
  return attachments.filter(({ id }) => !sandboxIds.has(id.containerId));
}

/**
 * Whether nobody can be speaking with the addresses. A pod's namespace that a dead runtime left behind is empty; one that
 * is nobody's pod may be meant to be empty, and counts as long as it is there.
 */
export function isAbandoned({ id, record }: ListedAttachment, { sandboxIds, present, inhabited }: Presence): boolean {
  if (sandboxIds.has(id.containerId)) return false;
  return !(record.owner.pod === undefined ? present : inhabited).has(record.netns);
}

const nameOf = ({ network, containerId, ifname }: AttachmentId): string => `${network}/${containerId}/${ifname}`;

/** Remembers since when something has been seen abandoned at every look. */
export class Suspects {
  readonly #graceMs: number;
  #since = new Map<string, number>();

  /** @param graceMs - milliseconds between the first look and the one that proves it */
  constructor(graceMs: number) {
    this.#graceMs = graceMs;
  }

  /**
   * @param now - milliseconds on a clock that is never set
   * @returns those that have been abandoned for long enough
   */
  look(abandoned: readonly string[], now: number): readonly string[] {
    this.#since = new Map(abandoned.map((name) => [name, this.#since.get(name) ?? now] as const));
    return abandoned.filter((name) => now - (this.#since.get(name) ?? now) >= this.#graceMs);
  }
}

/** The attachments that are proven leaked at this look. */
export function findLeaks(
  suspects: Suspects,
  attachments: readonly ListedAttachment[],
  presence: Presence,
  now: number,
): readonly ListedAttachment[] {
  const abandoned = new Map(
    attachments.filter((each) => isAbandoned(each, presence)).map((each) => [nameOf(each.id), each] as const),
  );
  return suspects.look([...abandoned.keys()], now).flatMap((name) => abandoned.get(name) ?? []);
}
