// Asks the kubelet's own podresources API for what only it knows: devices. Bounded, and never needed: without an answer
// the callers go on with what they know.
import { create, type DescMethod, type MessageShape } from '@bufbuild/protobuf';
import type { Logger } from 'pino';
import { Counter, type Registry } from 'prom-client';
import { describeError } from '../../lib/errors.ts';
import { callUnary, connectUnix } from '../../lib/grpc-client.ts';
import {
  AllocatableResourcesRequestSchema,
  type AllocatableResourcesResponse,
  ListPodResourcesRequestSchema,
  type ListPodResourcesResponse,
  PodResourcesLister,
} from '../../proto/gen/wire/podresources/v1/podresources_pb.ts';

export interface KubeletPodResources {
  readonly socket: string;
  /** @returns undefined when the kubelet does not answer in time */
  list(): Promise<ListPodResourcesResponse | undefined>;
  /** @returns undefined when the kubelet does not answer in time */
  allocatable(): Promise<AllocatableResourcesResponse | undefined>;
  /** Why the last answers are missing, for people; undefined when nothing is, or nobody asked. */
  problem(): string | undefined;
  close(): void;
}

export interface KubeletPodResourcesOptions {
  readonly socket: string;
  readonly metrics: Registry;
  readonly logger: Logger;
  /** Milliseconds that the kubelet has for an answer; default 1000. */
  readonly patienceMs?: number;
}

/** Whoever asks us waits as long; the kubelet answers in milliseconds. */
const PATIENCE_MS = 1000;

type UnaryMethod = DescMethod & { readonly methodKind: 'unary' };

/** Nothing is connected before the first question. */
export function openKubeletPodResources(options: KubeletPodResourcesOptions): KubeletPodResources {
  const { socket, metrics, logger, patienceMs = PATIENCE_MS } = options;
  const client = connectUnix(socket);
  const problems = new Map<string, string>();
  const asked = new Counter({
    name: 'holdfast_pod_resources_kubelet_requests_total',
    help: "Questions to the kubelet's own podresources API, by how they ended.",
    labelNames: ['method', 'end'],
    registers: [metrics],
  });

  const ask = async <Method extends UnaryMethod>(
    method: Method,
    request: MessageShape<Method['input']>,
  ): Promise<MessageShape<Method['output']> | undefined> => {
    const { name } = method;
    try {
      const answer = await callUnary(client, method, request, { timeoutMs: patienceMs });
      asked.inc({ method: name, end: 'ok' });
      if (problems.delete(name)) logger.info({ socket, method: name }, 'the kubelet tells of devices again');
      return answer;
    } catch (error) {
      asked.inc({ method: name, end: 'failed' });
      const problem = describeError(error).slice(0, 300);
      // Said once: a kubelet that is away is asked at every scrape.
      if (!problems.has(name)) logger.warn({ socket, method: name, error: problem }, 'the kubelet tells of no devices');
      problems.set(name, problem);
      return undefined;
    }
  };
  const list = oneAtATime(() => ask(PodResourcesLister.method.list, create(ListPodResourcesRequestSchema)));
  const allocatable = oneAtATime(() =>
    ask(PodResourcesLister.method.getAllocatableResources, create(AllocatableResourcesRequestSchema)),
  );
  return {
    socket,
    list,
    allocatable,
    problem: () => [...problems.values()][0],
    close: () => client.close(),
  };
}

/** Who asks while an answer is on its way shares it: the kubelet limits how often it is asked. */
function oneAtATime<Answer>(ask: () => Promise<Answer>): () => Promise<Answer> {
  let underWay: Promise<Answer> | undefined;
  return () => {
    underWay ??= ask().finally(() => {
      underWay = undefined;
    });
    return underWay;
  };
}
