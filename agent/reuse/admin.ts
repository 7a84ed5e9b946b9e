// What people can see and do with `holdfast reuse`: the data behind the administration service.
import { create } from '@bufbuild/protobuf';
import { HoldfastError } from '../../lib/errors.ts';
import {
  type ExportLayerRequest,
  type Layer as LayerMessage,
  LayerSchema,
  type ResetLayerRequest,
} from '../../proto/gen/holdfast/admin/v1/admin_pb.ts';
import { archiveDirectory } from '../host/archive.ts';
import { layersOfRuntime, logFields, type ReuseContext } from './context.ts';
import { type ContainerLayers, keptOf, type Layer, nameOf } from './layer.ts';
import { sourceOf, without } from './plan-layers.ts';

/** How a container is named on the command line: the pod as `namespace/pod` or by its UID. */
type LayerName = Pick<ResetLayerRequest, 'pod' | 'container'>;

export interface ReuseAdmin {
  list(): { readonly layers: LayerMessage[] };
  /**
   * Gives a layer up: at once when it is kept, at the next attempt when a container has it.
   * @throws HoldfastError NOT_FOUND
   */
  reset(request: ResetLayerRequest, signal: AbortSignal): Promise<void>;
  /**
   * The layer as a tar archive. A container that has it may go on writing meanwhile.
   * @throws HoldfastError NOT_FOUND, UNAVAILABLE or HOST_FAILURE, also while it is read
   */
  export(
    request: ExportLayerRequest,
    signal: AbortSignal,
  ): AsyncGenerator<{ readonly chunk: Uint8Array<ArrayBuffer> }, void>;
}

type WithLayer = <Result>(key: string, signal: AbortSignal, work: () => Promise<Result>) => Promise<Result>;

export function createReuseAdmin(context: ReuseContext, withLayer: WithLayer, dropLater: () => void): ReuseAdmin {
  const { book, logger, metrics } = context;

  const find = ({ pod, container }: LayerName): { readonly key: string; readonly layers: ContainerLayers } => {
    const found = [...book.allLayers()].filter(
      ([, layers]) =>
        layers.container === container && (layers.podUid === pod || `${layers.namespace}/${layers.pod}` === pod),
    );
    const [only, ...others] = found;
    if (only === undefined) {
      throw new HoldfastError('NOT_FOUND', `there is no layer of ${pod}/${container}; holdfast reuse ls shows all`);
    }
    if (others.length > 0) {
      const uids = found.map(([, { podUid }]) => podUid).join(', ');
      throw new HoldfastError('INVALID_REQUEST', `several pods are called ${pod}; name one by its UID: ${uids}`);
    }
    return { key: only[0], layers: only[1] };
  };

  return {
    list: () => ({ layers: [...book.allLayers().values()].flatMap(describe) }),

    reset: async (name, signal) => {
      const { key } = find(name);
      await withLayer(key, signal, async () => {
        const layers = book.layers(key);
        const source = layers && sourceOf(layers);
        if (layers === undefined || source === undefined) return;
        const kept = keptOf(source);
        if (kept === undefined) {
          await book.write(key, { layers: { ...layers, resetRequested: true } });
        } else {
          await book.write(key, { layers: without(layers, kept.snapshot), dropped: [kept] });
          metrics.givenUp.inc({ reason: 'reset' });
        }
        logger.warn({ ...logFields(layers), atOnce: kept !== undefined }, 'writable layer reset by an administrator');
      });
      dropLater();
    },

    export: async function* (name, signal) {
      const { layers } = find(name);
      const { superseded } = name;
      const layer = superseded ? layers.superseded?.layer : layers.current;
      if (layer === undefined) {
        const which = superseded ? 'superseded' : 'present';
        throw new HoldfastError('NOT_FOUND', `${nameOf(layers)} has no ${which} layer; holdfast reuse ls shows all`);
      }
      const runtimeLayers = await layersOfRuntime(context, signal);
      const upperdir = await runtimeLayers?.upperdirOf(layer.snapshot, signal);
      if (upperdir === undefined) {
        throw new HoldfastError(
          'NOT_FOUND',
          `the writable layer of ${nameOf(layers)} is no overlayfs layer, or is gone`,
        );
      }
      const { chunks, warnings } = archiveDirectory(context.tree.root, upperdir, signal);
      for await (const chunk of chunks) yield { chunk };
      if (warnings() !== '') logger.warn({ ...logFields(layers), tar: warnings() }, 'layer exported with warnings');
    },
  };
}

function describe(layers: ContainerLayers): readonly LayerMessage[] {
  const { current, superseded } = layers;
  return [
    ...(current === undefined ? [] : [message(layers, current, current.holder.kind === 'kept' ? 'kept' : 'attached')]),
    ...(superseded === undefined ? [] : [message(layers, superseded.layer, 'superseded')]),
  ];
}

function message(layers: ContainerLayers, layer: Layer, state: string): LayerMessage {
  const { namespace, pod, podUid, container, fastFailures } = layers;
  const { holder, image, measured, createdAt, handovers } = layer;
  return create(LayerSchema, {
    namespace,
    pod,
    podUid,
    container,
    state,
    holderContainerId: holder.kind === 'container' ? holder.id : '',
    image,
    sizeBytes: BigInt(measured?.size ?? 0),
    measuredAtMs: BigInt(measured?.at ?? 0),
    createdAtMs: BigInt(createdAt),
    keptSinceMs: BigInt(holder.kind === 'kept' ? holder.since : 0),
    handovers,
    consecutiveFastFailures: state === 'superseded' ? 0 : fastFailures,
  });
}
