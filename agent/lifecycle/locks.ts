// Which steps wait for each other: those of one container, those of one pod's sandbox, and nothing else.
import { KeyedMutex } from '../../lib/keyed-mutex.ts';
import type { PodUid } from '../model/ids.ts';

export class LifecycleLocks {
  readonly #mutex = new KeyedMutex();

  /** Steps of a pod's sandbox, and the end of the pod's holdings. */
  async pod<Result>(uid: PodUid, work: () => Promise<Result>, signal?: AbortSignal): Promise<Result> {
    return await this.#mutex.run(`pod ${uid}`, work, signal);
  }

  /** Steps of one container of a pod, over all its attempts. */
  async container<Result>(
    uid: PodUid,
    name: string,
    work: () => Promise<Result>,
    signal?: AbortSignal,
  ): Promise<Result> {
    return await this.#mutex.run(`container ${uid}/${name}`, work, signal);
  }

  /**
   * All steps of a pod: those of its sandbox and those of these containers. The pod's lock comes first; no step waits
   * for it while it has a container's.
   */
  async wholePod<Result>(
    uid: PodUid,
    containers: readonly string[],
    work: () => Promise<Result>,
    signal?: AbortSignal,
  ): Promise<Result> {
    // A manifest may name a container twice; its lock can be had once.
    const all = [...new Set(containers)].reduce<() => Promise<Result>>(
      (inner, name) => () => this.container(uid, name, inner, signal),
      work,
    );
    return await this.pod(uid, all, signal);
  }
}
