// Which calls are intercepted: the same steps on both versions of CRI, whose messages are compatible.
import { removeContainer, startContainer, stopContainer, updateContainerResources } from './container-steps.ts';
import { createContainer } from './create-container.ts';
import { removePodSandbox, runPodSandbox, stopPodSandbox } from './sandbox-steps.ts';
import type { Step } from './step.ts';

export interface InterceptedCall {
  readonly step: Step;
  /** Full name of the service as the caller used it. */
  readonly servicePath: string;
}

const SERVICES = ['runtime.v1.RuntimeService', 'runtime.v1alpha2.RuntimeService'] as const;

const STEPS: readonly Step[] = [
  runPodSandbox,
  createContainer,
  startContainer,
  updateContainerResources,
  stopContainer,
  stopPodSandbox,
  removeContainer,
  removePodSandbox,
];

/** By the `:path` of the request; every other path is relayed. */
export const INTERCEPTED: ReadonlyMap<string, InterceptedCall> = new Map(
  SERVICES.flatMap((servicePath) =>
    STEPS.map((step) => [`/${servicePath}/${step.method}`, { step, servicePath }] as const),
  ),
);
