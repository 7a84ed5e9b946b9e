// Records for the tests of this folder.
import { type ContainerId, containerId, podUid } from '../../../agent/model/ids.ts';
import type { ContainerLayers, Layer, Subject } from '../../../agent/reuse/layer.ts';
import type { NewContainer } from '../../../agent/reuse/plan-layers.ts';

export const SUBJECT: Subject = { podUid: podUid('uid'), namespace: 'ns', pod: 'pod', container: 'app' };

export const A: ContainerId = containerId('a');
export const B: ContainerId = containerId('b');
export const C: ContainerId = containerId('c');

export function heldLayer(id: ContainerId, more: Partial<Layer> = {}): Layer {
  return {
    snapshot: { snapshotter: 'overlayfs', key: id },
    parent: 'chain',
    image: 'image',
    holder: { kind: 'container', id },
    createdAt: 1,
    handovers: 0,
    ...more,
  };
}

export function keptLayer(key: string, more: Partial<Layer> = {}): Layer {
  return heldLayer(containerId(key), { holder: { kind: 'kept', lease: `lease-${key}`, since: 1 }, ...more });
}

export function record(more: Partial<ContainerLayers> = {}): ContainerLayers {
  return { ...SUBJECT, fastFailures: 0, resetRequested: false, ...more };
}

export function newContainer(id: ContainerId, image = 'image'): NewContainer {
  return { id, image, fresh: { snapshot: { snapshotter: 'overlayfs', key: id }, parent: 'chain' } };
}
