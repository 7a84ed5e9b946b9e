// What the shim asks the runtime itself while the agent is away, and the one thing it does there by itself: removing
// a container whose creation was not completed.
import { create, type DescMethod, fromBinary, type MessageShape, toBinary } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { describeError, HoldfastError } from '../../lib/errors.ts';
import {
  ContainerFilterSchema,
  ContainerStatusRequestSchema,
  ListContainersRequestSchema,
  PodSandboxStatusRequestSchema,
  RemoveContainerRequestSchema,
  RuntimeService,
} from '../../proto/gen/wire/cri/v1/cri_pb.ts';
import { encodeFrame } from '../grpc/frame.ts';
import { formatGrpcTimeout } from '../grpc/timeout.ts';
import { callBuffered, readMessage } from '../relay/buffered-call.ts';
import type { Upstream } from '../relay/upstream.ts';
import type { RemovalFacts } from './plan-without-agent.ts';

const METHODS = RuntimeService.method;
/** Milliseconds for a look-up. */
const QUERY_MS = 2000;
/** Milliseconds for removing a container that never ran. */
const REMOVE_MS = 10_000;

export interface SandboxFacts {
  readonly id: string;
  readonly annotations: Readonly<Record<string, string>>;
}

export interface RuntimeQueries {
  /** @returns the full ID (callers may shorten it) and the annotations; undefined when the runtime does not know it */
  sandbox(id: string, signal: AbortSignal): Promise<SandboxFacts | undefined>;
  /** @returns undefined when the runtime does not know the container */
  container(id: string, signal: AbortSignal): Promise<RemovalFacts | undefined>;
  containersOf(sandboxId: string, signal: AbortSignal): Promise<readonly RemovalFacts[]>;
  /** @throws HoldfastError UNAVAILABLE when the runtime did not confirm it */
  removeContainer(id: string): Promise<void>;
}

/**
 * @param servicePath - full name of the service, as the caller used it (runtime.v1 or runtime.v1alpha2)
 * All functions throw HoldfastError UNAVAILABLE where the runtime gives no usable answer.
 */
export function createRuntimeQueries(upstream: Upstream, servicePath: string): RuntimeQueries {
  const call = async <Method extends DescMethod>(
    method: Method,
    request: MessageShape<Method['input']>,
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<MessageShape<Method['output']> | undefined> => {
    const headers = {
      ':method': 'POST',
      ':path': `/${servicePath}/${method.name}`,
      te: 'trailers',
      'content-type': 'application/grpc',
      'grpc-timeout': formatGrpcTimeout(timeoutMs),
    };
    const limited = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
    const unusable = (why: string): HoldfastError =>
      new HoldfastError(
        'UNAVAILABLE',
        `the shim asked the runtime for ${method.name} and got no usable answer: ${why}`,
      );
    try {
      const answer = await callBuffered(upstream, headers, encodeFrame(toBinary(method.input, request)), limited);
      if (answer.kind === 'reset') throw unusable(`stream reset with HTTP/2 code ${answer.code}`);
      if (answer.status.code === status.NOT_FOUND) return undefined;
      if (answer.kind === 'status' || answer.status.code !== status.OK) throw unusable(answer.status.details);
      return fromBinary<Method['output']>(method.output, await readMessage(answer));
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof HoldfastError && error.code === 'UNAVAILABLE') throw error;
      throw unusable(limited.aborted ? `nothing within ${timeoutMs} ms` : describeError(error));
    }
  };
  return {
    async sandbox(podSandboxId, signal) {
      const request = create(PodSandboxStatusRequestSchema, { podSandboxId });
      const response = await call(METHODS.podSandboxStatus, request, QUERY_MS, signal);
      if (response === undefined) return undefined;
      const { id = podSandboxId, annotations = {} } = response.status ?? {};
      return { id, annotations };
    },
    async container(containerId, signal) {
      const request = create(ContainerStatusRequestSchema, { containerId });
      const response = await call(METHODS.containerStatus, request, QUERY_MS, signal);
      if (response === undefined) return undefined;
      const { metadata, annotations = {} } = response.status ?? {};
      return { id: containerId, name: metadata?.name ?? '', annotations };
    },
    async containersOf(podSandboxId, signal) {
      const filter = create(ContainerFilterSchema, { podSandboxId });
      const request = create(ListContainersRequestSchema, { filter });
      const response = await call(METHODS.listContainers, request, QUERY_MS, signal);
      return (response?.containers ?? []).map(({ id, metadata, annotations }) => ({
        id,
        name: metadata?.name ?? '',
        annotations,
      }));
    },
    async removeContainer(containerId) {
      const request = create(RemoveContainerRequestSchema, { containerId });
      await call(METHODS.removeContainer, request, REMOVE_MS, new AbortController().signal);
    },
  };
}
