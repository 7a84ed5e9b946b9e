// The containers that this feature looks after, and what is known of each: what the kernel and the runtime have.
import type { ContainerCgroup } from '../host/cgroupfs.ts';
import type { CpuSet } from '../model/cpu-set.ts';
import type { ContainerId, PodUid } from '../model/ids.ts';
import type { ContainerState } from '../model/pod.ts';
import type { RuntimeContainer } from '../runtime/runtime.ts';
import { readStamp } from './stamp.ts';

export interface Member {
  readonly id: ContainerId;
  readonly podUid: PodUid;
  readonly namespace: string;
  readonly podName: string;
  readonly name: string;
  /** Memory nodes that it was bound to at creation; they stay for its whole life. */
  readonly mems: CpuSet | undefined;
  /** Changed by {@link Members.setState} alone: who reads the listing must learn of it. */
  state: ContainerState;
  /** Where it is; found once it runs. */
  cgroup: ContainerCgroup | undefined;
  /** What its cgroup had when we last wrote or read it. */
  written: CpuSet | undefined;
  /** What the runtime believes; undefined when that is not known. */
  told: CpuSet | undefined;
  /** Its CPU quota was lifted before. */
  unthrottled: boolean;
  /** Why its cgroup could not be looked at or written; cleared by the next success. */
  problem: string | undefined;
}

/** What is known of a container that the runtime lists. */
export function memberFrom(listed: RuntimeContainer, told: CpuSet | undefined): Member {
  const stamp = readStamp(listed.annotations);
  return {
    id: listed.id,
    podUid: listed.podUid,
    namespace: listed.podNamespace,
    podName: listed.podName,
    name: listed.name,
    mems: stamp.mems,
    state: listed.state,
    cgroup: undefined,
    written: undefined,
    told: told ?? stamp.cpus,
    unthrottled: false,
    problem: undefined,
  };
}

/** In state `unknown` the runtime has lost sight of a container whose process may live. */
export function mayRun({ state }: Pick<Member, 'state'>): boolean {
  return state === 'running' || state === 'unknown';
}

/** `default/web/app (0123456789ab)`, for logs and errors. */
export function describeMember({ namespace, podName, name, id }: Member): string {
  return `${namespace}/${podName}/${name} (${id.slice(0, 12)})`;
}

/** What ListAllocations shows: a container that has ended is on no CPU. */
export function isShown({ state }: Pick<Member, 'state'>): boolean {
  return state !== 'exited';
}

/** A container that has run, and may have ended: its pod is past waiting for its image. */
export function wasStarted({ state }: Pick<Member, 'state'>): boolean {
  return state !== 'created';
}

/** The members by container ID; those that were not made by a kubelet are never among them. */
export class Members {
  readonly #byId = new Map<ContainerId, Member>();
  readonly #onChange: () => void;

  /** @param onChange - called in the moment in which members that are shown come, start or go */
  constructor(onChange: () => void) {
    this.#onChange = onChange;
  }

  get(id: ContainerId): Member | undefined {
    return this.#byId.get(id);
  }

  put(member: Member): void {
    if (member.podUid === '') return;
    const before = this.#byId.get(member.id);
    this.#byId.set(member.id, member);
    if (isShown(member) || (before !== undefined && isShown(before))) this.#onChange();
  }

  delete(id: ContainerId): void {
    const before = this.#byId.get(id);
    this.#byId.delete(id);
    if (before !== undefined && isShown(before)) this.#onChange();
  }

  setState(member: Member, state: ContainerState): void {
    const [shown, started] = [isShown(member), wasStarted(member)];
    member.state = state;
    const isChange = shown !== isShown(member) || started !== wasStarted(member);
    if (isChange && this.#byId.get(member.id) === member) this.#onChange();
  }

  ids(): ReadonlySet<ContainerId> {
    return new Set(this.#byId.keys());
  }

  list(): readonly Member[] {
    return [...this.#byId.values()];
  }

  /**
   * Takes over what the runtime lists; members that it does not list any more are forgotten.
   * @param before - the members when the listing was asked for: only those can be found to be gone
   */
  refresh(
    listed: readonly RuntimeContainer[],
    before: ReadonlySet<ContainerId>,
    toldOf: (id: ContainerId) => CpuSet | undefined,
  ): void {
    const present = new Set(listed.map(({ id }) => id));
    for (const container of listed) {
      const known = this.#byId.get(container.id);
      if (known === undefined) this.put(memberFrom(container, toldOf(container.id)));
      // One that was seen to be gone does not come back to life because the runtime does not know.
      else if (known.state === 'exited' && container.state === 'unknown') continue;
      // A start that we were told of is newer than the listing.
      else if (known.state !== 'running' || container.state === 'exited') this.setState(known, container.state);
    }
    for (const id of before) if (!present.has(id)) this.delete(id);
  }
}
