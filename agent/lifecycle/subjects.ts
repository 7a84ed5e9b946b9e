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
import { containerFromRuntime, podFromCri, podFromRuntime, podNameFromCri } from './pod-from-cri.ts';
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
    const pod = await this.podOf(request.sandboxConfig, signal);
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
  async podOf(config: PodSandboxConfig | undefined, signal: AbortSignal): Promise<Pod> {
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

  async sandboxStep(id: SandboxId, signal: AbortSignal): Promise<SandboxStep> {
    const { registry, runtime } = this.#options;
    // The runtime's list and not the registry's: a container created while the agent was away may be in it.
    const containers = (await runtime.listContainers(signal))
      .filter((container) => container.sandboxId === id && container.podUid !== '')
      .map(containerFromRuntime);
    for (const container of containers) registry.putContainer(container);
    const sandbox = await runtime.sandboxStatus(id, signal);
    const pod = sandbox === undefined ? undefined : await this.podOfSandbox(id, sandbox.podUid, signal);
    return { sandboxId: id, containers, signal, ...(pod === undefined ? {} : { pod }) };
  }
}
