// Puts an Adjustment into a CRI request. Pure: the request is copied, and unknown fields stay at every level.
import { clone, create } from '@bufbuild/protobuf';
import type { Adjustment } from '../../proto/gen/holdfast/lifecycle/v1/lifecycle_pb.ts';
import {
  type CreateContainerRequest,
  CreateContainerRequestSchema,
  LinuxContainerConfigSchema,
  type LinuxContainerResources,
  LinuxContainerResourcesSchema,
  type RunPodSandboxRequest,
  RunPodSandboxRequestSchema,
  type UpdateContainerResourcesRequest,
  UpdateContainerResourcesRequestSchema,
} from '../../proto/gen/wire/cri/v1/cri_pb.ts';

type Annotations = Readonly<Record<string, string>>;

function changesAnnotations(present: Annotations, wanted: Annotations): boolean {
  return Object.entries(wanted).some(([key, value]) => present[key] !== value);
}

function changesResources(present: LinuxContainerResources | undefined, wanted: Adjustment): boolean {
  return (
    (wanted.cpusetCpus !== undefined && wanted.cpusetCpus !== (present?.cpusetCpus ?? '')) ||
    (wanted.cpusetMems !== undefined && wanted.cpusetMems !== (present?.cpusetMems ?? '')) ||
    (wanted.cpuQuota !== undefined && wanted.cpuQuota !== (present?.cpuQuota ?? 0n))
  );
}

function setResources(resources: LinuxContainerResources, wanted: Adjustment): LinuxContainerResources {
  if (wanted.cpusetCpus !== undefined) resources.cpusetCpus = wanted.cpusetCpus;
  if (wanted.cpusetMems !== undefined) resources.cpusetMems = wanted.cpusetMems;
  if (wanted.cpuQuota !== undefined) resources.cpuQuota = wanted.cpuQuota;
  return resources;
}

/**
 * Annotations of the sandbox; a sandbox has no CPUs of its own to place.
 * @returns undefined when nothing would change, so that the bytes received can be forwarded
 */
export function adjustSandbox(
  request: RunPodSandboxRequest,
  wanted: Adjustment | undefined,
): RunPodSandboxRequest | undefined {
  if (wanted === undefined || request.config === undefined) return undefined;
  if (!changesAnnotations(request.config.annotations, wanted.annotations)) return undefined;
  const adjusted = clone(RunPodSandboxRequestSchema, request);
  Object.assign(adjusted.config?.annotations ?? {}, wanted.annotations);
  return adjusted;
}

/** CPUs, memory nodes, quota and annotations of a new container; as {@link adjustSandbox} otherwise. */
export function adjustContainer(
  request: CreateContainerRequest,
  wanted: Adjustment | undefined,
): CreateContainerRequest | undefined {
  if (wanted === undefined || request.config === undefined) return undefined;
  const resourcesChange = changesResources(request.config.linux?.resources, wanted);
  if (!resourcesChange && !changesAnnotations(request.config.annotations, wanted.annotations)) return undefined;
  const adjusted = clone(CreateContainerRequestSchema, request);
  const config = adjusted.config;
  if (config === undefined) return undefined;
  Object.assign(config.annotations, wanted.annotations);
  if (resourcesChange) {
    config.linux ??= create(LinuxContainerConfigSchema);
    config.linux.resources = setResources(config.linux.resources ?? create(LinuxContainerResourcesSchema), wanted);
  }
  return adjusted;
}

/** CPUs, memory nodes, quota and annotations of an update; as {@link adjustSandbox} otherwise. */
export function adjustUpdate(
  request: UpdateContainerResourcesRequest,
  wanted: Adjustment | undefined,
): UpdateContainerResourcesRequest | undefined {
  if (wanted === undefined) return undefined;
  const resourcesChange = changesResources(request.linux, wanted);
  if (!resourcesChange && !changesAnnotations(request.annotations, wanted.annotations)) return undefined;
  const adjusted = clone(UpdateContainerResourcesRequestSchema, request);
  Object.assign(adjusted.annotations, wanted.annotations);
  if (resourcesChange) adjusted.linux = setResources(adjusted.linux ?? create(LinuxContainerResourcesSchema), wanted);
  return adjusted;
}
