// The agent's view of pods, sandboxes and containers: rebuilt from the runtime, kept current by the lifecycle steps.
import type { ContainerId, PodUid, SandboxId } from '../model/ids.ts';
import type { Container, ContainerState, Pod } from '../model/pod.ts';

export interface KnownSandbox {
  readonly id: SandboxId;
  readonly podUid: PodUid;
}

interface Seen<Value> {
  readonly value: Value;
  /** The clock of {@link Registry.mark} when it was put here. */
  readonly at: number;
}

/** What the runtime listed, in the registry's terms. */
export interface Listing {
  readonly pods: readonly Pod[];
  readonly sandboxes: readonly KnownSandbox[];
  readonly containers: readonly Container[];
}

export class Registry {
  readonly #pods = new Map<PodUid, Seen<Pod>>();
  readonly #sandboxes = new Map<SandboxId, Seen<KnownSandbox>>();
  readonly #containers = new Map<ContainerId, Seen<Container>>();
  #clock = 0;

  /** Take a mark before listing the runtime: what steps put here after it is newer than the listing. */
  mark(): number {
    this.#clock += 1;
    return this.#clock;
  }

  pod(uid: PodUid): Pod | undefined {
    return this.#pods.get(uid)?.value;
  }

  sandbox(id: SandboxId): KnownSandbox | undefined {
    return this.#sandboxes.get(id)?.value;
  }

  container(id: ContainerId): Container | undefined {
    return this.#containers.get(id)?.value;
  }

  pods(): readonly Pod[] {
    return [...this.#pods.values()].map(({ value }) => value);
  }

  containersOf(uid: PodUid): readonly Container[] {
    return this.#values(this.#containers).filter((container) => container.podUid === uid);
  }

  containersIn(id: SandboxId): readonly Container[] {
    return this.#values(this.#containers).filter((container) => container.sandboxId === id);
  }

  hasSandbox(uid: PodUid): boolean {
    return this.#values(this.#sandboxes).some((sandbox) => sandbox.podUid === uid);
  }

  putPod(pod: Pod): void {
    this.#pods.set(pod.uid, { value: pod, at: this.#clock });
  }

  putSandbox(sandbox: KnownSandbox): void {
    this.#sandboxes.set(sandbox.id, { value: sandbox, at: this.#clock });
  }

  putContainer(container: Container): void {
    this.#containers.set(container.id, { value: container, at: this.#clock });
  }

  setState(id: ContainerId, state: ContainerState): void {
    const known = this.#containers.get(id)?.value;
    if (known !== undefined) this.putContainer({ ...known, state });
  }

  forgetPod(uid: PodUid): void {
    this.#pods.delete(uid);
  }

  /**
   * Takes over what the runtime lists. Pods stay until their holdings end; sandboxes and containers that are not
   * listed go, unless a step put them here after the mark was taken.
   */
  replace(listing: Listing, mark: number): void {
    for (const pod of listing.pods) {
      // What CreateContainer said of a pod (cgroup parent, sums) is more than what the listing can tell.
      if (!this.#pods.has(pod.uid)) this.#pods.set(pod.uid, { value: pod, at: mark });
    }
    replaceUnlessNewer(this.#sandboxes, listing.sandboxes, mark);
    replaceUnlessNewer(this.#containers, listing.containers, mark);
  }

  #values<Value>(map: ReadonlyMap<unknown, Seen<Value>>): readonly Value[] {
    return [...map.values()].map(({ value }) => value);
  }
}

function replaceUnlessNewer<Id, Value extends { readonly id: Id }>(
  known: Map<Id, Seen<Value>>,
  listed: readonly Value[],
  mark: number,
): void {
  const ids = new Set(listed.map(({ id }) => id));
  for (const [id, { at }] of known) if (at < mark && !ids.has(id)) known.delete(id);
  for (const value of listed) {
    const newer = known.get(value.id);
    if (newer === undefined || newer.at < mark) known.set(value.id, { value, at: mark });
  }
}
