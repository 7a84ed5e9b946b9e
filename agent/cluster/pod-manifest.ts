// From the text of pod manifests (YAML or JSON) to what we know of the pods. Pure. The text may come from anybody:
// its size, aliases and nesting are bounded.
import { parseAllDocuments } from 'yaml';
import { z } from 'zod';
import { describeError, HoldfastError } from '../../lib/errors.ts';
import { podUid } from '../model/ids.ts';
import { parseBytes, parseMilliCpu } from '../model/parse-quantity.ts';
import type { ContainerSpec, PodFacts } from '../model/pod.ts';
import type { Bytes } from '../model/quantity.ts';

/** Longer texts are not read. The API server takes objects of up to 1.5 MiB; a list of a full node's fits. */
export const MAX_MANIFEST_BYTES = 8 * 1024 * 1024;

const MAX_ALIASES = 100;

/** On a PodList: it names every pod of the host, so that one it does not name is deleted. */
export const COMPLETE_ANNOTATION = 'holdfast.dev/complete';

/** On the API's copy of a static pod: the UID that the kubelet itself uses for the pod, and so the runtime. */
export const MIRROR_ANNOTATION = 'kubernetes.io/config.mirror';

/** Anybody who may create pods can write a kind of any length. */
const MAX_KIND = 63;

const HUGEPAGES_PREFIX = 'hugepages-';

const quantity = z.union([z.string(), z.number()]).transform(String);
const quantities = z.record(z.string(), quantity).nullish();

const container = z.object({
  name: z.string().min(1),
  restartPolicy: z.string().nullish(),
  resources: z.object({ requests: quantities, limits: quantities }).nullish(),
});

const texts = z.record(z.string(), z.string()).nullish();

const owners = z.array(z.object({ kind: z.string().nullish(), controller: z.boolean().nullish() })).nullish();

const pod = z.object({
  metadata: z.object({
    name: z.string().min(1).max(253),
    namespace: z.string().max(253).nullish(),
    uid: z.string().max(253).nullish(),
    labels: texts,
    annotations: texts,
    deletionTimestamp: z.string().nullish(),
    ownerReferences: owners,
  }),
  spec: z.object({
    containers: z.array(container).nullish(),
    initContainers: z.array(container).nullish(),
  }),
  status: z.object({ phase: z.string().nullish() }).nullish(),
});

const list = z.object({
  metadata: z.object({ annotations: texts }).nullish(),
  items: z.array(z.unknown()).nullish(),
});

const typed = z.object({ apiVersion: z.literal('v1'), kind: z.enum(['Pod', 'PodList', 'List']) });

type Container = z.output<typeof container>;

export interface PodManifests {
  /** `uid` is empty where the manifest has none. */
  readonly pods: readonly PodFacts[];
  /** Pods that are not in it do not exist; see {@link COMPLETE_ANNOTATION}. */
  readonly complete: boolean;
}

/**
 * Reads v1 Pods, PodLists and Lists of Pods; several documents may follow one another.
 * @throws HoldfastError INVALID_REQUEST saying what cannot be read
 */
export function parsePodManifests(text: string): PodManifests {
  if (Buffer.byteLength(text) > MAX_MANIFEST_BYTES) {
    throw new HoldfastError('INVALID_REQUEST', `it is longer than ${MAX_MANIFEST_BYTES} bytes`);
  }
  const pods: PodFacts[] = [];
  let complete = false;
  const documents = parseDocuments(text).filter((document) => document !== null && document !== undefined);
  if (documents.length === 0) {
    // A file that was cut off must not look like a cluster whose pods were all deleted.
    throw new HoldfastError('INVALID_REQUEST', 'there is nothing in it; no pods are a PodList with empty items');
  }
  for (const document of documents) {
    const { kind } = parse(typed, document, 'the document');
    if (kind === 'Pod') {
      pods.push(readPod(document));
      continue;
    }
    const { metadata, items } = parse(list, document, kind);
    complete ||= metadata?.annotations?.[COMPLETE_ANNOTATION] === 'true';
    pods.push(...(items ?? []).map(readPod));
  }
  return { pods, complete };
}

function parseDocuments(text: string): readonly unknown[] {
  try {
    const documents = parseAllDocuments(text, { prettyErrors: true });
    // An empty text is an array with a marker on it, not a document.
    if (!Array.isArray(documents)) return [];
    return documents.map((document) => {
      const [error] = document.errors;
      if (error !== undefined) throw error;
      return document.toJS({ maxAliasCount: MAX_ALIASES }) as unknown;
    });
  } catch (cause) {
    // Alias bombs and hostile nesting end here, too.
    throw new HoldfastError('INVALID_REQUEST', 'it is not YAML', { cause });
  }
}

function parse<Schema extends z.ZodType>(schema: Schema, value: unknown, what: string): z.output<Schema> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const where = issue === undefined || issue.path.length === 0 ? what : `${what}: ${issue.path.map(String).join('.')}`;
  throw new HoldfastError('INVALID_REQUEST', `${where}: ${issue?.message ?? 'cannot be read'}`);
}

/**
 * A v1 Pod, parsed already.
 * @throws HoldfastError INVALID_REQUEST saying what cannot be read
 */
export function readPod(value: unknown): PodFacts {
  const { metadata, spec, status } = parse(pod, value, 'a pod');
  const { uid, name, namespace, labels, annotations, deletionTimestamp, ownerReferences } = metadata;
  const controllerKind = ownerReferences?.find(({ controller }) => controller === true)?.kind?.slice(0, MAX_KIND);
  const kindOf = (init: Container) => (init.restartPolicy === 'Always' ? 'sidecar' : 'init');
  try {
    return {
      uid: podUid(uid ?? ''),
      namespace: namespace || 'default',
      name,
      labels: new Map(Object.entries(labels ?? {})),
      annotations: new Map(Object.entries(annotations ?? {})),
      containers: [
        ...(spec.initContainers ?? []).map((init) => containerSpec(init, kindOf(init))),
        ...(spec.containers ?? []).map((app) => containerSpec(app, 'app')),
      ],
      deleting: deletionTimestamp !== null && deletionTimestamp !== undefined,
      finished: status?.phase === 'Succeeded' || status?.phase === 'Failed',
      ...(annotations?.[MIRROR_ANNOTATION] === undefined ? {} : { isStatic: true }),
      ...(controllerKind === undefined ? {} : { controllerKind }),
    };
  } catch (error) {
    throw new HoldfastError('INVALID_REQUEST', `pod ${namespace ?? 'default'}/${name}: ${describeError(error)}`);
  }
}

function containerSpec({ name, resources }: Container, kind: ContainerSpec['kind']): ContainerSpec {
  const limits = resources?.limits ?? {};
  // As the API server defaults them: a request that is not there is the limit.
  const requests = { ...limits, ...resources?.requests };
  const of = <Value>(key: string, from: Readonly<Record<string, string>>, read: (text: string) => Value) => {
    const text = Object.hasOwn(from, key) ? from[key] : undefined;
    return text === undefined ? undefined : read(text);
  };
  const cpuRequest = of('cpu', requests, parseMilliCpu);
  const cpuLimit = of('cpu', limits, parseMilliCpu);
  const memoryRequest = of('memory', requests, parseBytes);
  const memoryLimit = of('memory', limits, parseBytes);
  return {
    name,
    kind,
    ...(cpuRequest === undefined ? {} : { cpuRequest }),
    ...(cpuLimit === undefined ? {} : { cpuLimit }),
    ...(memoryRequest === undefined ? {} : { memoryRequest }),
    ...(memoryLimit === undefined ? {} : { memoryLimit }),
    hugepages: hugepages(requests),
  };
}

function hugepages(requests: Readonly<Record<string, string>>): ReadonlyMap<number, Bytes> {
  const pages = new Map<number, Bytes>();
  for (const [resource, text] of Object.entries(requests)) {
    if (!resource.startsWith(HUGEPAGES_PREFIX)) continue;
    const wanted = parseBytes(text);
    if (wanted > 0) pages.set(parseBytes(resource.slice(HUGEPAGES_PREFIX.length)), wanted);
  }
  return pages;
}
