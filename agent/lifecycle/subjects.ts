// Which pod and which container a lifecycle step is about: from the request itself, the registry, or the runtime.
import type { Logger } from 'pino';
import { HoldfastError } from '../../lib/errors.ts';
import type { ContainerConfig, PodSandboxConfig } from '../../proto/gen/wire/cri/v1/cri_pb.ts';
import type { PodSource } from '../cluster/pod-source.ts';
import type { ContainerId, PodUid, SandboxId } from '../model/ids.ts';
import type { Container, Pod } from '../model/pod.ts';
import { policyOf } from '../model/policy.ts';
import type { ContainerRuntime } from '../runtime/runtime.ts';
import type { ContainerCreating, SandboxStep } from './feature.ts';
import { type PolicyRules, planPolicy } from './plan-policy.ts';
import { containerFromRuntime, podFromContainer, podFromCri, podFromRuntime, podNameFromCri } from './pod-from-cri.ts';
import type { Registry } from './registry.ts';
import { needOfContainer } from './resource-need.ts';

export interface SubjectsOptions {
  readonly registry: Registry;
  readonly runtime: ContainerRuntime;
  readonly podSource: PodSource;
  readonly policyRules: PolicyRules;
  readonly logger: Logger;
}

/** What CreateContainer says, before and after the runtime has made the container. */
export interface ContainerRequest {
  readonly sandboxId: SandboxId;
  readonly config: ContainerConfig | undefined;
  readonly sandboxConfig: PodSandboxConfig | undefined;
}

export class Subjects {
  readonly #options: SubjectsOptions;

  constructor(options: SubjectsOptions) {
    this.#options = options;
  }

  async creatingStep(request: ContainerRequest, signal: AbortSignal): Promise<ContainerCreating> {
    const pod = await this.podIn(request.sandboxConfig, signal);
    const name = request.config?.metadata?.name ?? '';
    if (name === '') throw new HoldfastError('INVALID_REQUEST', 'the container config has no metadata.name');
    const spec = pod.facts?.containers.find((container) => container.name === name);
    return {
      pod,
      sandboxId: request.sandboxId,
      name,
      attempt: request.config?.metadata?.attempt ?? 0,
      policy: policyOf(pod.policy, name),
      need: needOfContainer(request.config?.linux?.resources, spec),
      ...(spec === undefined ? {} : { spec }),
      image: request.config?.image?.image ?? '',
      signal,
    };
  }

  /** The pod as this request describes it; the registry gets the newer description. */
  async podIn(config: PodSandboxConfig | undefined, signal: AbortSignal): Promise<Pod> {
    signal.throwIfAborted();
    const podName = podNameFromCri(config);
    if (config === undefined) throw new HoldfastError('INVALID_REQUEST', 'the request has no pod sandbox config');
    const decision = planPolicy(podName.namespace, config.annotations, this.#options.policyRules);
    if (decision.ignored.length > 0) {
      this.#options.logger.warn(
        { pod: podName, ignored: decision.ignored },
        'the namespace may not have this; ignored',
      );
    }
    const pod = podFromCri(config, decision.policy, this.#options.podSource.find(podName));
    this.#options.registry.putPod(pod);
    return pod;
  }

  async containerOf(id: ContainerId, signal: AbortSignal): Promise<Container | undefined> {
    const known = this.#options.registry.container(id);
    if (known !== undefined) return known;
    const status = await this.#options.runtime.containerStatus(id, signal);
    if (status === undefined || status.podUid === '') return undefined;
    const container = containerFromRuntime(status);
    this.#options.registry.putContainer(container);
    return container;
  }

  async podOfSandbox(id: SandboxId, uid: PodUid, signal: AbortSignal): Promise<Pod | undefined> {
    const known = this.#options.registry.pod(uid);
    if (known !== undefined) return known;
    const sandbox = await this.#options.runtime.sandboxStatus(id, signal);
    if (sandbox === undefined || sandbox.podUid === '') return undefined;
    const name = { uid: sandbox.podUid, namespace: sandbox.podNamespace, name: sandbox.podName };
    const pod = podFromRuntime(sandbox, this.#options.podSource.find(name));
    this.#options.registry.putPod(pod);
    return pod;
  }

  /**
   * The pod of a container. Its sandbox may be gone before it is: what it says of itself is enough to keep what it holds.
   * @returns undefined when the runtime no longer knows the container either
   */
  async podOf(container: Container, signal: AbortSignal): Promise<Pod | undefined> {
    const pod = await this.podOfSandbox(container.sandboxId, container.podUid, signal);
    if (pod !== undefined) return pod;
    const status = await this.#options.runtime.containerStatus(container.id, signal);
    if (status === undefined) return undefined;
    const name = { uid: status.podUid, namespace: status.podNamespace, name: status.podName };
    return podFromContainer(status, container.policy, this.#options.podSource.find(name));
  }

  /** The sandbox with what the runtime has in it: a container created while the agent was away may be there. */
  async sandboxStep(asked: SandboxId, signal: AbortSignal): Promise<SandboxStep> {
    const { registry, runtime } = this.#options;
    // The runtime takes the beginning of an ID for the whole; what is compared below must be the whole.
    const known = registry.sandbox(asked) ?? (await runtime.sandboxStatus(asked, signal));
    if (known === undefined || known.podUid === '') return { sandboxId: asked, containers: [], signal };
    const { id, podUid: uid } = known;
    const pod = await this.podOfSandbox(id, uid, signal);
    const containers = await this.#listed(uid, signal);
    const inside = containers.filter((container) => container.sandboxId === id);
    return { sandboxId: id, containers: inside, signal, ...(pod === undefined ? {} : { pod }) };
  }

  /**
   * A container of this name and attempt that was created but never started: its CreateContainer was lost on the way
   * back to the kubelet, and containerd would refuse the retry because the name is taken.
   */
  async orphanOf(step: ContainerCreating): Promise<Container | undefined> {
    const containers = await this.#listed(step.pod.uid, step.signal);
    return containers.find(
      ({ name, attempt, state }) => name === step.name && attempt === step.attempt && state === 'created',
    );
  }

  async #listed(uid: PodUid, signal: AbortSignal): Promise<readonly Container[]> {
    const containers = (await this.#options.runtime.listContainers(signal, uid)).map(containerFromRuntime);
    for (const container of containers) this.#options.registry.putContainer(container);
    return containers;
  }
}
