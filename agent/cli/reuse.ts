// `holdfast reuse`: which writable layers are kept, giving one up, and writing one to a tar file.
import { createWriteStream } from 'node:fs';
import { link, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { create, toJson } from '@bufbuild/protobuf';
import { Command, InvalidArgumentError } from 'commander';
import { HoldfastError, isErrno } from '../../lib/errors.ts';
import { callServerStream, connectUnix } from '../../lib/grpc-client.ts';
import {
  Admin,
  ExportLayerRequestSchema,
  type Layer,
  ListLayersRequestSchema,
  type ListLayersResponse,
  ListLayersResponseSchema,
  ResetLayerRequestSchema,
} from '../../proto/gen/holdfast/admin/v1/admin_pb.ts';
import { bytes, formatBytes } from '../model/quantity.ts';
import { formatAge } from './age.ts';
import { AGENT_SOCKET, agentError, askAgent, socketOption } from './ask-agent.ts';
import { formatOutput, formatTable, type OutputFormat, outputOption } from './output.ts';

/** A container as people name it on the command line. */
export interface LayerArgument {
  /** `namespace/pod`, or the pod's UID. */
  readonly pod: string;
  readonly container: string;
}

/** Writing a layer takes as long as its size makes it. */
const EXPORT_TIMEOUT_MS = 24 * 60 * 60 * 1000;

/**
 * Reads `POD/CONTAINER`; the pod is a name in the namespace, or a UID.
 * @throws InvalidArgumentError for anything else
 */
export function parseLayerArgument(text: string, namespace: string): LayerArgument {
  const [pod, container, ...more] = text.split('/');
  if (!pod || !container || more.length > 0) {
    throw new InvalidArgumentError(`"${text}" is not POD/CONTAINER, such as web-0/app.`);
  }
  // Only UIDs have this form; a pod's name could have it too, and is then meant with its namespace given.
  const isUid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$|^[0-9a-f]{32}$/.test(pod);
  return { pod: isUid ? pod : `${namespace}/${pod}`, container };
}

/** What people read. @param now - milliseconds since the epoch */
export function formatLayers(layers: readonly Layer[], now: number): string {
  if (layers.length === 0) return 'No container of this node keeps its writable layer.\n';
  const headings = ['namespace', 'pod', 'container', 'state', 'size', 'age', 'kept', 'restarts', 'image'];
  const rows = layers.map((layer) => [
    layer.namespace,
    layer.pod,
    layer.container,
    layer.state,
    layer.measuredAtMs === 0n ? '?' : formatBytes(bytes(Number(layer.sizeBytes))),
    formatAge(layer.createdAtMs, now),
    layer.keptSinceMs === 0n ? '-' : formatAge(layer.keptSinceMs, now),
    `${layer.handovers}`,
    layer.image,
  ]);
  return formatTable(headings, rows);
}

interface SocketOption {
  readonly socket: string;
}

async function list({ socket, output }: SocketOption & { readonly output: OutputFormat }): Promise<void> {
  const response: ListLayersResponse = await askAgent(socket, Admin.method.listLayers, create(ListLayersRequestSchema));
  const plain = toJson(ListLayersResponseSchema, response, { alwaysEmitImplicit: true });
  process.stdout.write(formatOutput(output, plain, () => formatLayers(response.layers, Date.now())));
}

async function reset(argument: LayerArgument, { socket }: SocketOption): Promise<void> {
  await askAgent(socket, Admin.method.resetLayer, create(ResetLayerRequestSchema, argument));
  process.stdout.write(`${argument.pod}/${argument.container}: the next attempt begins with an empty writable layer\n`);
}

async function* chunksOf(
  socket: string,
  argument: LayerArgument,
  superseded: boolean,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  const client = connectUnix(socket);
  try {
    const request = create(ExportLayerRequestSchema, { ...argument, superseded });
    const options = { timeoutMs: EXPORT_TIMEOUT_MS, signal };
    for await (const { chunk } of callServerStream(client, Admin.method.exportLayer, request, options)) yield chunk;
  } catch (error) {
    throw agentError(error, socket);
  } finally {
    client.close();
  }
}

/**
 * Writes the layer to a file that only root can read, under its name only once it is complete.
 * @throws HoldfastError PRECONDITION when the file exists, HOST_FAILURE when it cannot be written, or what the agent says
 */
export async function exportToFile(
  socket: string,
  argument: LayerArgument,
  superseded: boolean,
  file: string,
  signal: AbortSignal,
): Promise<void> {
  const partial = join(dirname(file), `.holdfast-export-${process.pid}.partial`);
  try {
    const chunks = Readable.from(chunksOf(socket, argument, superseded, signal), { objectMode: true });
    await pipeline(chunks, createWriteStream(partial, { mode: 0o600, flags: 'wx', flush: true }), { signal });
    // Unlike a rename, a link never replaces what is there.
    await link(partial, file);
  } catch (error) {
    if (isErrno(error, 'EEXIST')) {
      throw new HoldfastError('PRECONDITION', `${file} exists already; name another file`, { cause: error });
    }
    if (isErrno(error, 'ENOENT', 'ENOSPC', 'EACCES', 'EPERM', 'EROFS', 'ENOTDIR')) {
      throw new HoldfastError('HOST_FAILURE', `${file} cannot be written`, { cause: error });
    }
    throw error;
  } finally {
    await rm(partial, { force: true });
  }
}

async function exportLayer(
  argument: LayerArgument,
  file: string,
  { socket, superseded }: SocketOption & { readonly superseded: boolean },
): Promise<void> {
  const interrupted = new AbortController();
  const onSignal = (): void => interrupted.abort(new HoldfastError('DEADLINE', 'the export was interrupted'));
  process.once('SIGINT', onSignal).once('SIGTERM', onSignal);
  try {
    const { layers } = await askAgent(socket, Admin.method.listLayers, create(ListLayersRequestSchema));
    await exportToFile(socket, argument, superseded, file, interrupted.signal);
    const attached = layers.some(
      ({ namespace, pod, podUid, container, state }) =>
        container === argument.container &&
        (podUid === argument.pod || `${namespace}/${pod}` === argument.pod) &&
        state === 'attached',
    );
    process.stdout.write(`${file} written\n`);
    if (attached && !superseded) {
      process.stderr.write('A container has this layer: if it runs, files that it was writing may be incomplete.\n');
    }
  } finally {
    process.removeListener('SIGINT', onSignal).removeListener('SIGTERM', onSignal);
  }
}

export function reuseCommand(): Command {
  const command = new Command('reuse').description('writable layers that containers keep over restarts');
  command
    .command('ls')
    .description('which layers there are, how large, and since when those without a container are kept')
    .addOption(outputOption())
    .addOption(socketOption(AGENT_SOCKET))
    .action(list);
  command
    .command('reset')
    .description('give a layer up: the next attempt of the container starts from its image')
    .argument('<pod/container>', 'the pod by its name or UID, and the container')
    .option('-n, --namespace <namespace>', 'the namespace of the pod', 'default')
    .addOption(socketOption(AGENT_SOCKET))
    .action((text: string, options: SocketOption & { readonly namespace: string }) =>
      reset(parseLayerArgument(text, options.namespace), options),
    );
  command
    .command('export')
    .description('write a layer to a tar file; deletions are in it as overlayfs marks them')
    .argument('<pod/container>', 'the pod by its name or UID, and the container')
    .argument('<file.tar>', 'must not exist yet')
    .option('-n, --namespace <namespace>', 'the namespace of the pod', 'default')
    .option('--superseded', 'the old layer that an upgrade or a hindered hand-over left', false)
    .addOption(socketOption(AGENT_SOCKET))
    .action(
      (
        text: string,
        file: string,
        options: SocketOption & { readonly namespace: string; readonly superseded: boolean },
      ) => exportLayer(parseLayerArgument(text, options.namespace), file, options),
    );
  return command;
}
