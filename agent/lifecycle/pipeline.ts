// The lifecycle pipeline: one method per step. It finds out which pod and container a step is about, asks every feature
// in turn, and puts their answers together. Steps of one container follow each other; those of others go on beside them.
import type { Logger } from 'pino';
import { describeError, HoldfastError } from '../../lib/errors.ts';
import type { LinuxContainerResources, PodSandboxConfig } from '../../proto/gen/wire/cri/v1/cri_pb.ts';
import type { ContainerId, SandboxId } from '../model/ids.ts';
import type { Container, Pod } from '../model/pod.ts';
import { isProtected } from '../model/policy.ts';
import { POLICY_ANNOTATION, stampContainerPolicy, stampPodPolicy } from '../model/policy-stamp.ts';
import type { ContainerRuntime } from '../runtime/runtime.ts';
import { type Adjustment, type Contribution, mergeContributions } from './adjustment.ts';
import type { ContainerCreating, ContainerStep, Feature } from './feature.ts';
import type { Holdings } from './holdings.ts';
import type { LifecycleLocks } from './locks.ts';
import { isDefaultPolicy } from './plan-policy.ts';
import type { Refusals } from './refusals.ts';
import type { Registry } from './registry.ts';
import { needFromCri } from './resource-need.ts';
import type { ContainerRequest, Subjects } from './subjects.ts';

export interface PipelineOptions {
  readonly features: readonly Feature[];
  readonly registry: Registry;
  readonly subjects: Subjects;
  readonly holdings: Holdings;
  readonly locks: LifecycleLocks;
  readonly runtime: ContainerRuntime;
  readonly logger: Logger;
  /** Who was told that there is no room. */
  readonly refusals: Refusals;
}

/** How long the pipeline waits for a container that it stops before its removal; the runtime kills it at once. */
const STOP_BEFORE_REMOVAL_GRACE_SECONDS = 0;

export class Pipeline {
  readonly #options: PipelineOptions;
  readonly #subjects: Subjects;
  readonly #locks: LifecycleLocks;

  constructor(options: PipelineOptions) {
    this.#options = options;
    this.#subjects = options.subjects;
    this.#locks = options.locks;
  }

  /** Before RunPodSandbox. */
  async sandboxCreating(config: PodSandboxConfig | undefined, signal: AbortSignal): Promise<Adjustment> {
    const pod = await this.#subjects.podIn(config, signal);
    return await this.#locks.pod(
      pod.uid,
      async () => {
        this.#options.holdings.revive(pod.uid);
        const adjustment = await this.#noting(pod, () =>
          this.#collect('sandboxCreating', (feature) => feature.sandboxCreating?.({ pod, signal })),
        );
        // A pod's author can write annotations: one that looks like our stamp is replaced by the real one.
        if (isDefaultPolicy(pod.policy) && !pod.annotations.has(POLICY_ANNOTATION)) return adjustment;
        return withAnnotation(adjustment, POLICY_ANNOTATION, stampPodPolicy(pod.policy));
      },
      signal,
    );
  }

  /** Before CreateContainer. */
  async containerCreating(request: ContainerRequest, signal: AbortSignal): Promise<Adjustment> {
    const step = await this.#subjects.creatingStep(request, signal);
    return await this.#locks.container(
      step.pod.uid,
      step.name,
      async () => {
        if (isProtected(step.policy)) await this.#removeOrphan(step);
        const adjustment = await this.#noting(step.pod, () =>
          this.#collect('containerCreating', (feature) => feature.containerCreating?.(step)),
        );
        if (isDefaultPolicy({ ...step.policy, containers: new Map() })) return adjustment;
        return withAnnotation(adjustment, POLICY_ANNOTATION, stampContainerPolicy(step.policy));
      },
      signal,
    );
  }

  /** After CreateContainer. When a feature refuses, what the others did is taken back before the error goes out. */
  async containerCreated(request: ContainerRequest, containerId: ContainerId, signal: AbortSignal): Promise<void> {
    const creating = await this.#subjects.creatingStep(request, signal);
    await this.#locks.container(
      creating.pod.uid,
      creating.name,
      async () => {
        const { pod, sandboxId, name, attempt, policy } = creating;
        const container: Container = {
          id: containerId,
          sandboxId,
          podUid: pod.uid,
          name,
          attempt,
          policy,
          state: 'created',
        };
        this.#options.registry.putContainer(container);
        this.#options.registry.putSandbox({ id: sandboxId, podUid: pod.uid });
        const asked: Feature[] = [];
        try {
          for (const feature of this.#options.features) {
            asked.push(feature);
            await feature.containerCreated?.({ ...creating, containerId });
          }
        } catch (error) {
          await this.#abandon(asked, { pod, container, signal });
          throw error;
        }
      },
      signal,
    );
  }

  /** After StartContainer. What fails here is logged: the container runs, and reconciling will come back to it. */
  async containerStarted(id: ContainerId, signal: AbortSignal): Promise<void> {
    await this.#withContainer(id, signal, async (found) => {
      this.#options.registry.setState(id, 'running');
      const step: ContainerStep = { ...found, container: { ...found.container, state: 'running' } };
      for (const feature of this.#options.features) {
        try {
          await feature.containerStarted?.(step);
        } catch (error) {
          this.#options.logger.warn(
            { feature: feature.name, container: id, error: describeError(error) },
            'containerStarted failed',
          );
        }
      }
    });
  }

  /** Before UpdateContainerResources. */
  async containerUpdating(
    id: ContainerId,
    resources: LinuxContainerResources | undefined,
    signal: AbortSignal,
  ): Promise<Adjustment> {
    const adjustment = await this.#withContainer(id, signal, async (step) => {
      const requestedCpus = resources?.cpusetCpus ?? '';
      const updating = {
        ...step,
        need: needFromCri(resources),
        ...(requestedCpus === '' ? {} : { requestedCpus }),
      };
      return await this.#collect('containerUpdating', (feature) => feature.containerUpdating?.(updating));
    });
    return adjustment ?? {};
  }

  /** Before StopContainer. */
  async containerStopping(id: ContainerId, signal: AbortSignal): Promise<void> {
    // A stop waits for nothing that nobody needs to know.
    if (this.#options.features.every((feature) => feature.containerStopping === undefined)) return;
    await this.#withContainer(id, signal, async (step) => {
      for (const feature of this.#options.features) await feature.containerStopping?.(step);
    });
  }

  /** Before StopPodSandbox. */
  async sandboxStopping(id: SandboxId, signal: AbortSignal): Promise<void> {
    // Finding out what is in a sandbox asks the runtime; not worth it when nobody wants to know.
    if (this.#options.features.every((feature) => feature.sandboxStopping === undefined)) return;
    const step = await this.#subjects.sandboxStep(id, signal);
    for (const feature of this.#options.features) await feature.sandboxStopping?.(step);
  }

  /** Before RemoveContainer. */
  async containerRemoving(id: ContainerId, signal: AbortSignal): Promise<void> {
    await this.#withContainer(id, signal, (step) => this.#removing(step));
  }

  /** Before RemovePodSandbox: the runtime removes the containers in it by itself, unseen by the shim. */
  async sandboxRemoving(id: SandboxId, signal: AbortSignal): Promise<void> {
    const step = await this.#subjects.sandboxStep(id, signal);
    for (const container of step.containers) await this.containerRemoving(container.id, signal);
    for (const feature of this.#options.features) await feature.sandboxRemoving?.(step);
  }

  async #removing(step: ContainerStep): Promise<void> {
    const current = await this.#stopped(step);
    if (current === undefined) return;
    for (const feature of this.#options.features) await feature.containerRemoving?.(current);
  }

  /** The step with the container's present state, after stopping it where its layer is to be kept. */
  async #stopped(step: ContainerStep): Promise<ContainerStep | undefined> {
    if (step.container.policy.restart !== 'reuse') return step;
    const { runtime } = this.#options;
    const status = await runtime.containerStatus(step.container.id, step.signal);
    if (status === undefined) return undefined;
    if (status.state === 'running') {
      await runtime.stopContainer(step.container.id, STOP_BEFORE_REMOVAL_GRACE_SECONDS, step.signal);
    }
    const state = status.state === 'running' ? 'exited' : status.state;
    this.#options.registry.setState(step.container.id, state);
    return { ...step, container: { ...step.container, state } };
  }

  /** Clears the way for a retried CreateContainer; what the orphan holds is kept as at any other removal. */
  async #removeOrphan(step: ContainerCreating): Promise<void> {
    const orphan = await this.#subjects.orphanOf(step);
    if (orphan === undefined) return;
    this.#options.logger.warn(
      { container: orphan.id, name: step.name },
      'removing a container whose creation was lost',
    );
    await this.#removing({ pod: step.pod, container: orphan, signal: step.signal });
    await this.#options.runtime.removeContainer(orphan.id, step.signal);
  }

  async #abandon(features: readonly Feature[], step: ContainerStep): Promise<void> {
    for (const feature of features.toReversed()) {
      try {
        await feature.containerAbandoned?.(step);
      } catch (error) {
        // The shim must not remove a container that may still hold a layer.
        throw new HoldfastError(
          'UNAVAILABLE',
          `what feature ${feature.name} did for container ${step.container.id} could not be taken back; the next attempt tries again`,
          { cause: error },
        );
      }
    }
  }

  /** Notes whether there was room for the pod. */
  async #noting<Result>(pod: Pod, work: () => Promise<Result>): Promise<Result> {
    const { refusals } = this.#options;
    try {
      const result = await work();
      refusals.forget(pod.uid);
      return result;
    } catch (error) {
      if (error instanceof HoldfastError && error.code === 'NO_ROOM') refusals.refused(pod, error.message);
      throw error;
    }
  }

  async #collect(step: string, ask: (feature: Feature) => Promise<Contribution> | undefined): Promise<Adjustment> {
    const contributions = new Map<string, Contribution>();
    for (const feature of this.#options.features) {
      const contribution = await ask(feature);
      if (contribution !== undefined) contributions.set(feature.name, contribution);
    }
    const adjustment = mergeContributions(contributions);
    this.#options.logger.debug({ step, adjustment }, 'adjustment');
    return adjustment;
  }

  /** Runs `work` under the container's lock; does nothing for a container that the runtime does not know. */
  async #withContainer<Result>(
    id: ContainerId,
    signal: AbortSignal,
    work: (step: ContainerStep) => Promise<Result>,
  ): Promise<Result | undefined> {
    const container = await this.#subjects.containerOf(id, signal);
    if (container === undefined) return undefined;
    const pod = await this.#subjects.podOf(container, signal);
    if (pod === undefined) return undefined;
    return await this.#locks.container(
      pod.uid,
      container.name,
      () => work({ pod, container: this.#options.registry.container(id) ?? container, signal }),
      signal,
    );
  }
}

function withAnnotation(adjustment: Adjustment, key: string, value: string): Adjustment {
  return { ...adjustment, annotations: { ...adjustment.annotations, [key]: value } };
}
