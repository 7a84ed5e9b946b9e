// Counts the ends of a container that came too soon after its start: its layer may be what makes it fail. Pure.
import type { ContainerId } from '../model/ids.ts';
import type { ContainerState } from '../model/pod.ts';
import type { ContainerLayers } from './layer.ts';

export interface FailureLimit {
  /** So many in a row give the layer up; 0: never. */
  readonly limit: number;
  /** Milliseconds after the start in which a failure counts. */
  readonly withinMs: number;
}

/** How the container that held the layer ended. Times in milliseconds since the epoch, 0 when it has not happened. */
export interface ContainerEnd {
  readonly id: ContainerId;
  readonly state: ContainerState;
  readonly startedAt: number;
  readonly finishedAt: number;
  readonly exitCode: number;
}

/** Takes the container's end into account, once for each container. One that could not even be started counts as well. */
export function judge(layers: ContainerLayers, end: ContainerEnd, { withinMs }: FailureLimit): ContainerLayers {
  if (end.state !== 'exited' || layers.judged === end.id) return layers;
  const failedFast = end.exitCode !== 0 && (end.startedAt === 0 || end.finishedAt - end.startedAt < withinMs);
  return { ...layers, judged: end.id, fastFailures: failedFast ? layers.fastFailures + 1 : 0 };
}

export function failedTooOften({ fastFailures }: ContainerLayers, { limit }: FailureLimit): boolean {
  return limit > 0 && fastFailures >= limit;
}
