// The Admin service: what the holdfast command asks a running agent. On agent.sock only, which root alone can open.
import type { MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import { HoldfastError } from '../../lib/errors.ts';
import type {
  AddressSchema,
  Admin,
  ExportLayerRequestSchema,
  ExportLayerResponseSchema,
  HandoverSchema,
  ListLayersResponseSchema,
  PoolSchema,
  ReserveAddressesRequestSchema,
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

/** What the network feature offers to administrators. */
export interface AddressAdministration {
  list(signal: AbortSignal): Promise<MessageInitShape<typeof AddressSchema>[]>;
  pools(signal: AbortSignal): Promise<MessageInitShape<typeof PoolSchema>[]>;
  reserve(request: MessageShape<typeof ReserveAddressesRequestSchema>, signal: AbortSignal): Promise<string[]>;
  release(address: string, signal: AbortSignal): Promise<void>;
  releaseHost(host: string, signal: AbortSignal): Promise<number>;
  handovers(limit: number): Promise<MessageInitShape<typeof HandoverSchema>[]>;
}

export interface AdminView {
  readonly version: string;
  readonly nodeName: string;
  readonly startedAt: Date;
  /** Name and version, or why it does not answer. */
  runtime(): string;
  status(): readonly StatusLine[];
  readonly layers: LayerAdministration;
  /** undefined: the configuration has no pools. */
  readonly addresses: AddressAdministration | undefined;
  /** Every record of the store, as JSON. */
  stateJson(): string;
  /** The configuration in force, as JSON. */
  configJson(): string;
}

export function adminHandlers(view: AdminView): Handlers<typeof Admin> {
  const addresses = (): AddressAdministration => {
    if (view.addresses !== undefined) return view.addresses;
    throw new HoldfastError(
      'PRECONDITION',
      'this host has no pools of addresses; see network.pools in the configuration',
    );
  };
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
    listAddresses: async (_request, { signal }) => ({ addresses: await addresses().list(signal) }),
    listPools: async (_request, { signal }) => ({ pools: await addresses().pools(signal) }),
    reserveAddresses: async (request, { signal }) => ({ addresses: await addresses().reserve(request, signal) }),
    releaseAddress: async ({ address }, { signal }) => {
      await addresses().release(address, signal);
      return {};
    },
    releaseHost: async ({ host }, { signal }) => ({ sandboxes: await addresses().releaseHost(host, signal) }),
    listHandovers: async ({ limit }) => ({ handovers: await addresses().handovers(limit) }),
    showState: async () => ({ json: view.stateJson() }),
    showConfig: async () => ({ json: view.configJson() }),
  };
}
