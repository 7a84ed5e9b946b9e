// The Lifecycle service: the shim's questions, translated for the pipeline and back.
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { AdjustmentSchema, Lifecycle } from '../../proto/gen/holdfast/lifecycle/v1/lifecycle_pb.ts';
import type { Adjustment } from '../lifecycle/adjustment.ts';
import type { Pipeline } from '../lifecycle/pipeline.ts';
import type { Upkeep } from '../lifecycle/upkeep.ts';
import { containerId, sandboxId } from '../model/ids.ts';
import type { Handlers } from './handlers.ts';

/** The adjustment as the shim gets it: a field that no feature set is absent. */
function toMessage(adjustment: Adjustment): MessageInitShape<typeof AdjustmentSchema> {
  const { cpusetCpus, cpusetMems, cpuQuota, annotations } = adjustment;
  return {
    ...(cpusetCpus === undefined ? {} : { cpusetCpus: cpusetCpus.toString() }),
    ...(cpusetMems === undefined ? {} : { cpusetMems: cpusetMems.toString() }),
    ...(cpuQuota === undefined ? {} : { cpuQuota: BigInt(cpuQuota) }),
    annotations: { ...annotations },
  };
}

/** @param upkeep - until it has recovered, every step is answered UNAVAILABLE, and the shim falls back to its own rules */
export function lifecycleHandlers(pipeline: Pipeline, upkeep: Upkeep): Handlers<typeof Lifecycle> {
  const whenRecovered = async <Result>(step: () => Promise<Result>): Promise<Result> => {
    upkeep.requireRecovered();
    return await step();
  };
  const emptyAfter = async (step: () => Promise<void>): Promise<Record<string, never>> => {
    await whenRecovered(step);
    return {};
  };
  return {
    sandboxCreating: async ({ config }, { signal }) => ({
      adjustment: toMessage(await whenRecovered(() => pipeline.sandboxCreating(config, signal))),
    }),
    containerCreating: async ({ sandboxId: id, config, sandboxConfig }, { signal }) => {
      const request = { sandboxId: sandboxId(id), config, sandboxConfig };
      return { adjustment: toMessage(await whenRecovered(() => pipeline.containerCreating(request, signal))) };
    },
    containerCreated: ({ sandboxId: id, containerId: created, config, sandboxConfig }, { signal }) => {
      const request = { sandboxId: sandboxId(id), config, sandboxConfig };
      return emptyAfter(() => pipeline.containerCreated(request, containerId(created), signal));
    },
    containerStarted: ({ containerId: id }, { signal }) =>
      emptyAfter(() => pipeline.containerStarted(containerId(id), signal)),
    containerUpdating: async ({ containerId: id, resources }, { signal }) => ({
      adjustment: toMessage(await whenRecovered(() => pipeline.containerUpdating(containerId(id), resources, signal))),
    }),
    containerStopping: ({ containerId: id }, { signal }) =>
      emptyAfter(() => pipeline.containerStopping(containerId(id), signal)),
    sandboxStopping: ({ sandboxId: id }, { signal }) =>
      emptyAfter(() => pipeline.sandboxStopping(sandboxId(id), signal)),
    containerRemoving: ({ containerId: id }, { signal }) =>
      emptyAfter(() => pipeline.containerRemoving(containerId(id), signal)),
    sandboxRemoving: ({ sandboxId: id }, { signal }) =>
      emptyAfter(() => pipeline.sandboxRemoving(sandboxId(id), signal)),
  };
}
