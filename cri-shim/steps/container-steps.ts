// StartContainer, UpdateContainerResources, StopContainer and RemoveContainer. CreateContainer has its own file.
import { create, toBinary } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { describeError } from '../../lib/errors.ts';
import {
  ContainerRemovingRequestSchema,
  ContainerStartedRequestSchema,
  ContainerStoppingRequestSchema,
  ContainerUpdatingRequestSchema,
  Lifecycle,
} from '../../proto/gen/holdfast/lifecycle/v1/lifecycle_pb.ts';
import { RuntimeService, UpdateContainerResourcesRequestSchema } from '../../proto/gen/wire/cri/v1/cri_pb.ts';
import { adjustUpdate } from './adjust.ts';
import { planRemovalWithoutAgent } from './plan-without-agent.ts';
import { defineStep, LAYER_MS, QUICK_MS } from './step.ts';

/** The container runs by then: whatever the agent says, the call has succeeded. */
export const startContainer = defineStep(RuntimeService.method.startContainer, async (request, context) => {
  const started = await context.forward();
  if (started.kind !== 'answer' || started.status.code !== status.OK) return started;
  const question = create(ContainerStartedRequestSchema, { containerId: request.containerId });
  try {
    const answer = await context.askAfter(Lifecycle.method.containerStarted, question, QUICK_MS);
    if (answer.kind === 'refused') {
      context.warn(`container ${request.containerId} started, but the agent says: ${answer.status.details}`);
    } else if (answer.kind === 'away') {
      context.noteFallback(`start of container ${request.containerId}`, answer.reason);
    }
  } catch (error) {
    context.warn(`container ${request.containerId} started, and nobody waited for the agent: ${describeError(error)}`);
  }
  return started;
});

export const updateContainerResources = defineStep(
  RuntimeService.method.updateContainerResources,
  async (request, context) => {
    const { containerId, linux } = request;
    const question = create(ContainerUpdatingRequestSchema, {
      containerId,
      ...(linux === undefined ? {} : { resources: linux }),
    });
    const answer = await context.askBefore(Lifecycle.method.containerUpdating, question, QUICK_MS);
    if (answer.kind === 'refused') return { kind: 'status', status: answer.status };
    if (answer.kind === 'away') {
      context.noteFallback(`update of container ${containerId}`, answer.reason);
      return await context.forward();
    }
    const adjusted = adjustUpdate(request, answer.response.adjustment);
    return await context.forward(adjusted && toBinary(UpdateContainerResourcesRequestSchema, adjusted));
  },
);

/** Stops always pass. */
export const stopContainer = defineStep(RuntimeService.method.stopContainer, async (request, context) => {
  const question = create(ContainerStoppingRequestSchema, {
    containerId: request.containerId,
    timeoutSeconds: request.timeout,
  });
  const answer = await context.askBefore(Lifecycle.method.containerStopping, question, QUICK_MS);
  if (answer.kind === 'refused') return { kind: 'status', status: answer.status };
  if (answer.kind === 'away') context.noteFallback(`stop of container ${request.containerId}`, answer.reason);
  return await context.forward();
});

/** A container that the runtime does not know passes: it answers that itself. */
export const removeContainer = defineStep(RuntimeService.method.removeContainer, async (request, context) => {
  const question = create(ContainerRemovingRequestSchema, { containerId: request.containerId });
  const answer = await context.askBefore(Lifecycle.method.containerRemoving, question, LAYER_MS);
  if (answer.kind === 'refused') return { kind: 'status', status: answer.status };
  if (answer.kind === 'away') {
    const container = await context.runtime.container(request.containerId, context.signal);
    planRemovalWithoutAgent(container === undefined ? [] : [container], answer.reason);
    context.noteFallback(`removal of container ${request.containerId}`, answer.reason);
  }
  return await context.forward();
});
