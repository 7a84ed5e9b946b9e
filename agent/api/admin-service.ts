// The Admin service: what the holdfast command asks a running agent. On agent.sock only, which root alone can open.
import type { MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import type {
  Admin,
  ExportLayerRequestSchema,
  ExportLayerResponseSchema,
  ListLayersResponseSchema,
  ResetLayerRequestSchema,
} from '../../proto/gen/holdfast/admin/v1/admin_pb.ts';
import type { StatusLine } from '../lifecycle/feature.ts';
import type { Handlers } from './handlers.ts';

/** What the reuse feature offers to administrators. */
export interface LayerAdministration {
  list(): MessageInitShape<typeof ListLayersResponseSchema>;
  reset(request: MessageShape<typeof ResetLayerRequestSchema>, signal: AbortSignal): Promise<void>;
  export(
    request: MessageShape<typeof ExportLayerRequestSchema>,
    signal: AbortSignal,
  ): AsyncIterable<MessageInitShape<typeof ExportLayerResponseSchema>>;
}

export interface AdminView {
  readonly version: string;
  readonly nodeName: string;
  readonly startedAt: Date;
  /** Name and version, or why it does not answer. */
  runtime(): string;
  status(): readonly StatusLine[];
  readonly layers: LayerAdministration;
  /** Every record of the store, as JSON. */
  stateJson(): string;
  /** The configuration in force, as JSON. */
  configJson(): string;
}

export function adminHandlers(view: AdminView): Handlers<typeof Admin> {
  return {
    getStatus: async () => ({
      version: view.version,
      nodeName: view.nodeName,
      startedAtMs: BigInt(view.startedAt.getTime()),
      runtime: view.runtime(),
      lines: view.status().map(({ subject, level, text }) => ({ subject, level, text })),
    }),
    listLayers: async () => view.layers.list(),
    resetLayer: async (request, { signal }) => {
      await view.layers.reset(request, signal);
      return {};
    },
    exportLayer: (request, { signal }) => view.layers.export(request, signal),
    showState: async () => ({ json: view.stateJson() }),
    showConfig: async () => ({ json: view.configJson() }),
  };
}
