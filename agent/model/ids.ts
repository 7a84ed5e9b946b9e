// The identifiers that must not be mixed up.
import type { Brand } from '../../lib/brand.ts';

/** metadata.uid of a pod. Holdings belong to it, not to a sandbox. */
export type PodUid = Brand<string, 'PodUid'>;
export type SandboxId = Brand<string, 'SandboxId'>;
export type ContainerId = Brand<string, 'ContainerId'>;

export const podUid = (text: string): PodUid => text as PodUid;
export const sandboxId = (text: string): SandboxId => text as SandboxId;
export const containerId = (text: string): ContainerId => text as ContainerId;
