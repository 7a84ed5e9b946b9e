// CreateContainer: the one step with a question on both sides. The second hands the kept writable layer over, so a
// container whose hand-over was not confirmed must not be used, and must not take the layer with it when it goes.
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { describeError, HoldfastError } from '../../lib/errors.ts';
import { toStatus } from '../../lib/grpc-status.ts';
import {
  type ContainerCreatedRequest,
  ContainerCreatedRequestSchema,
  ContainerCreatingRequestSchema,
  ContainerRemovingRequestSchema,
  Lifecycle,
} from '../../proto/gen/holdfast/lifecycle/v1/lifecycle_pb.ts';
import {
  type CreateContainerRequest,
  CreateContainerRequestSchema,
  CreateContainerResponseSchema,
  RuntimeService,
} from '../../proto/gen/wire/cri/v1/cri_pb.ts';
import type { AgentAnswer } from '../agent-client.ts';
import { type CallAnswer, type RuntimeAnswer, readMessage } from '../relay/buffered-call.ts';
import { adjustContainer } from './adjust.ts';
import { type AfterCreation, type CreatedFacts, planAfterCreation } from './plan-after-creation.ts';
import { planCreationWithoutAgent } from './plan-without-agent.ts';
import { defineStep, LAYER_MS, PLANNING_MS, type StepContext } from './step.ts';

export const createContainer = defineStep(RuntimeService.method.createContainer, async (request, context) => {
  const { podSandboxId, config, sandboxConfig } = request;
  const asked = {
    sandboxId: podSandboxId,
    ...(config === undefined ? {} : { config }),
    ...(sandboxConfig === undefined ? {} : { sandboxConfig }),
  };
  const question = create(ContainerCreatingRequestSchema, asked);
  const answer = await context.askBefore(Lifecycle.method.containerCreating, question, PLANNING_MS);
  if (answer.kind === 'refused') return { kind: 'status', status: answer.status };
  if (answer.kind === 'away') return await createWithoutAgent(request, answer.reason, context);

  const adjusted = adjustContainer(request, answer.response.adjustment);
  const created = await context.forward(adjusted && toBinary(CreateContainerRequestSchema, adjusted));
  if (created.kind !== 'answer' || created.status.code !== status.OK) return created;
  const { containerId } = fromBinary(CreateContainerResponseSchema, await readMessage(created));
  const confirmation = await confirm(create(ContainerCreatedRequestSchema, { ...asked, containerId }), context);
  return await settle(created, containerId, planAfterCreation(confirmation, factsOf(adjusted ?? request)), context);
});

/** The agent takes no part, also not after the creation: it finds the container when it is back. */
async function createWithoutAgent(
  request: CreateContainerRequest,
  agentProblem: string,
  context: StepContext,
): Promise<CallAnswer> {
  const { containerName, podAnnotations } = factsOf(request);
  const sandbox = await context.runtime.sandbox(request.podSandboxId, context.signal);
  // Without its sandbox nothing can be created, and the runtime says so itself.
  if (sandbox === undefined) return await context.forward();
  const sharedCpus = await context.sharedCpus();
  const sandboxAnnotations = sandbox.annotations;
  const facts = { containerName, podAnnotations, sandboxAnnotations, sharedCpus, agentProblem };
  const adjusted = adjustContainer(request, planCreationWithoutAgent(facts));
  const where = sharedCpus === undefined ? 'on the CPUs asked for' : `on the shared CPUs ${sharedCpus}`;
  context.noteFallback(`creation of container "${containerName}" ${where}`, agentProblem);
  return await context.forward(adjusted && toBinary(CreateContainerRequestSchema, adjusted));
}

function factsOf(request: CreateContainerRequest): CreatedFacts {
  return {
    containerName: request.config?.metadata?.name ?? '',
    containerAnnotations: request.config?.annotations ?? {},
    podAnnotations: request.sandboxConfig?.annotations ?? {},
  };
}

/** A caller that gives up leaves the outcome as unknown as an agent that does not answer. */
async function confirm(question: ContainerCreatedRequest, context: StepContext): Promise<AgentAnswer<unknown>> {
  try {
    return await context.askAfter(Lifecycle.method.containerCreated, question, LAYER_MS);
  } catch (error) {
    return { kind: 'away', reason: describeError(error) };
  }
}

async function settle(
  created: RuntimeAnswer,
  containerId: string,
  plan: AfterCreation,
  context: StepContext,
): Promise<CallAnswer> {
  if (plan.kind === 'answer') {
    if (plan.agentProblem !== undefined) context.noteFallback(`creation of ${containerId}`, plan.agentProblem);
    return created;
  }
  if (plan.kind === 'remove') {
    await removeAgain(containerId, context);
    return { kind: 'status', status: plan.status };
  }
  const question = create(ContainerRemovingRequestSchema, { containerId });
  const kept = await context.askDetached(Lifecycle.method.containerRemoving, question, LAYER_MS);
  const removed = kept.kind === 'answered' && (await removeAgain(containerId, context));
  const outcome = removed ? 'was removed again, its layer is kept' : 'is left as it is, not started';
  const text = `the agent did not confirm container ${containerId} (${plan.agentProblem}), which ${outcome}; try again`;
  context.warn(text);
  return { kind: 'status', status: toStatus(new HoldfastError('UNAVAILABLE', text)) };
}

/** What cannot be removed now is garbage for the kubelet. */
async function removeAgain(containerId: string, context: StepContext): Promise<boolean> {
  try {
    await context.runtime.removeContainer(containerId);
    return true;
  } catch (error) {
    context.warn(`container ${containerId} was created in vain and could not be removed: ${describeError(error)}`);
    return false;
  }
}
