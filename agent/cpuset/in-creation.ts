// Containers between containerCreating and containerCreated: where each was sent, until the runtime has given it an ID.
import type { ContainerCreated } from '../lifecycle/feature.ts';
import type { CpuSet } from '../model/cpu-set.ts';
import type { PodUid } from '../model/ids.ts';
import type { ContainerRuntime } from '../runtime/runtime.ts';
import { type Member, memberFrom } from './members.ts';

/** Where a container was sent when its creation began. */
export interface Sent {
  readonly cpus: CpuSet;
  readonly mems: CpuSet | undefined;
}

export class InCreation {
  readonly #runtime: Pick<ContainerRuntime, 'containerStatus'>;
  readonly #sent = new Map<PodUid, Map<string, Sent>>();

  constructor(runtime: Pick<ContainerRuntime, 'containerStatus'>) {
    this.#runtime = runtime;
  }

  put(uid: PodUid, name: string, sent: Sent): void {
    const containers = this.#sent.get(uid) ?? new Map<string, Sent>();
    this.#sent.set(uid, containers.set(name, sent));
  }

  /** Ends the creation. @returns what is known of the container; undefined when it is gone already */
  async take({ pod, name, containerId, signal }: ContainerCreated): Promise<Member | undefined> {
    const sent = this.#sent.get(pod.uid)?.get(name);
    this.#sent.get(pod.uid)?.delete(name);
    if (sent === undefined) {
      // The agent was started again between the two steps: what it sent is stamped on the container.
      const listed = await this.#runtime.containerStatus(containerId, signal);
      return listed === undefined ? undefined : memberFrom({ ...listed, state: 'created' }, undefined);
    }
    return {
      id: containerId,
      podUid: pod.uid,
      namespace: pod.namespace,
      podName: pod.name,
      name,
      mems: sent.mems,
      state: 'created',
      cgroup: undefined,
      written: undefined,
      told: sent.cpus,
      unthrottled: false,
      problem: undefined,
    };
  }

  podGone(uid: PodUid): void {
    this.#sent.delete(uid);
  }
}
