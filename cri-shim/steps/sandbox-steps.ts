// RunPodSandbox, StopPodSandbox and RemovePodSandbox.
import { create, toBinary } from '@bufbuild/protobuf';
import {
  Lifecycle,
  SandboxCreatingRequestSchema,
  SandboxRemovingRequestSchema,
  SandboxStoppingRequestSchema,
} from '../../proto/gen/holdfast/lifecycle/v1/lifecycle_pb.ts';
import { RunPodSandboxRequestSchema, RuntimeService } from '../../proto/gen/wire/cri/v1/cri_pb.ts';
import { adjustSandbox } from './adjust.ts';
import { planRemovalWithoutAgent } from './plan-without-agent.ts';
import { defineStep, LAYER_MS, PLANNING_MS, QUICK_MS } from './step.ts';

/** Without the agent the sandbox is created as it was asked for: its containers are what is protected. */
export const runPodSandbox = defineStep(RuntimeService.method.runPodSandbox, async (request, context) => {
  const { config, runtimeHandler } = request;
  const question = create(SandboxCreatingRequestSchema, {
    ...(config === undefined ? {} : { config }),
    runtimeHandler,
  });
  const answer = await context.askBefore(Lifecycle.method.sandboxCreating, question, PLANNING_MS);
  if (answer.kind === 'refused') return { kind: 'status', status: answer.status };
  if (answer.kind === 'away') {
    const pod = `sandbox of pod ${config?.metadata?.namespace}/${config?.metadata?.name}`;
    context.noteFallback(pod, answer.reason);
    return await context.forward();
  }
  const adjusted = adjustSandbox(request, answer.response.adjustment);
  return await context.forward(adjusted && toBinary(RunPodSandboxRequestSchema, adjusted));
});

/** Stops always pass. */
export const stopPodSandbox = defineStep(RuntimeService.method.stopPodSandbox, async (request, context) => {
  const question = create(SandboxStoppingRequestSchema, { sandboxId: request.podSandboxId });
  const answer = await context.askBefore(Lifecycle.method.sandboxStopping, question, QUICK_MS);
  if (answer.kind === 'refused') return { kind: 'status', status: answer.status };
  if (answer.kind === 'away') context.noteFallback(`stop of sandbox ${request.podSandboxId}`, answer.reason);
  return await context.forward();
});

/** The runtime removes what is still in the sandbox by itself, so one protected container protects it. */
export const removePodSandbox = defineStep(RuntimeService.method.removePodSandbox, async (request, context) => {
  const question = create(SandboxRemovingRequestSchema, { sandboxId: request.podSandboxId });
  const answer = await context.askBefore(Lifecycle.method.sandboxRemoving, question, LAYER_MS);
  if (answer.kind === 'refused') return { kind: 'status', status: answer.status };
  if (answer.kind === 'away') {
    const sandbox = await context.runtime.sandbox(request.podSandboxId, context.signal);
    const containers = sandbox === undefined ? [] : await context.runtime.containersOf(sandbox.id, context.signal);
    planRemovalWithoutAgent(containers, answer.reason);
    context.noteFallback(`removal of sandbox ${request.podSandboxId}`, answer.reason);
  }
  return await context.forward();
});
