// The NodeResourceTopology object of this node in the API: applied, read, and whose it is.
import { z } from 'zod';
import { HoldfastError } from '../../lib/errors.ts';
import type { ApiAccess, ApiCredentials } from './api-access.ts';
import { ApiError } from './api-error.ts';
import { type ApiRequest, parseJson, type RequestLimits, readText, send } from './api-request.ts';

/** Who owns the fields that we apply. */
export const FIELD_MANAGER = 'holdfast';

const COLLECTION = '/apis/topology.node.k8s.io/v1alpha2/noderesourcetopologies';
const CRD = 'noderesourcetopologies.topology.node.k8s.io';
const RIGHTS =
  'get of nodes, and get, create and patch of noderesourcetopologies are needed; see docs/node-resource-topology.md';
/** Of a Node without its spec and status, and of an object with 64 zones. */
const MAX_BYTES = 2 * 1024 * 1024;

export interface ObjectRequest {
  readonly access: ApiAccess;
  readonly nodeName: string;
  readonly limits: RequestLimits;
  readonly signal: AbortSignal;
}

async function ask({ access, limits, signal }: ObjectRequest, request: ApiRequest): Promise<unknown> {
  const answer = await send(access, { ...request, rights: RIGHTS }, limits, signal);
  return parseJson(await readText(answer, MAX_BYTES, limits));
}

const isStatus = (error: unknown, httpCode: number): error is ApiError =>
  error instanceof ApiError && error.httpCode === httpCode;

const nodeSchema = z.object({ metadata: z.object({ uid: z.string().min(1).max(128) }) });

/**
 * The UID of this node's Node.
 * @throws HoldfastError NOT_FOUND when the cluster has no such Node; ApiError
 */
export async function readNodeUid(request: ObjectRequest): Promise<string> {
  const { nodeName } = request;
  try {
    // Without spec and status: a Node names every image that the host has.
    const accept = 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1';
    const path = `/api/v1/nodes/${encodeURIComponent(nodeName)}`;
    return nodeSchema.parse(await ask(request, { method: 'GET', path, accept })).metadata.uid;
  } catch (error) {
    if (error instanceof z.ZodError) {
      throw new HoldfastError('UNAVAILABLE', 'the API server answered something that is no Node');
    }
    if (!isStatus(error, 404)) throw error;
    throw new HoldfastError(
      'NOT_FOUND',
      `the cluster has no Node ${nodeName}; compare nodeName in the configuration with kubectl get nodes`,
    );
  }
}

/** The API server does not know the kind. */
export function missingCrd(): HoldfastError {
  return new HoldfastError(
    'PRECONDITION',
    `the cluster has no ${CRD} in version v1alpha2: kubectl apply -f deploy/node-resource-topology-crd.yaml (docs/node-resource-topology.md)`,
  );
}

/**
 * Server-side apply.
 * @param force - take fields from others that own them with other values
 * @throws HoldfastError PRECONDITION when the cluster does not know the kind; ApiError, one with status 409 and
 *   `conflictingManagers` when others own fields
 */
export async function applyObject(request: ObjectRequest, object: object, force: boolean): Promise<void> {
  const parameters = new URLSearchParams({ fieldManager: FIELD_MANAGER, force: String(force) });
  const path = `${COLLECTION}/${encodeURIComponent(request.nodeName)}?${parameters.toString()}`;
  // JSON is YAML.
  const body = { type: 'application/apply-patch+yaml', text: JSON.stringify(object) };
  try {
    await ask(request, { method: 'PATCH', path, body });
  } catch (error) {
    // An object that is not there is made.
    throw isStatus(error, 404) ? missingCrd() : error;
  }
}

export interface ObjectOwners {
  /** Field managers other than Holdfast that own the zones or the attributes. */
  readonly others: readonly string[];
  /** Holdfast owns the zones. */
  readonly isOurs: boolean;
}

const ownersSchema = z.object({
  metadata: z.object({
    managedFields: z
      .array(
        z.object({ manager: z.string().max(256).nullish(), fieldsV1: z.record(z.string(), z.unknown()).nullish() }),
      )
      .nullish(),
  }),
});

/** @returns undefined when the node has no object @throws as {@link applyObject} */
export async function readOwners(request: ObjectRequest): Promise<ObjectOwners | undefined> {
  const path = `${COLLECTION}/${encodeURIComponent(request.nodeName)}`;
  let object: unknown;
  try {
    object = await ask(request, { method: 'GET', path });
  } catch (error) {
    if (!isStatus(error, 404)) throw error;
    // The object or its kind is missing: the collection says which.
    await listNothing(request);
    return undefined;
  }
  const parsed = ownersSchema.safeParse(object);
  if (!parsed.success) {
    throw new HoldfastError('UNAVAILABLE', 'the API server answered something that is no NodeResourceTopology');
  }
  const owning = (parsed.data.metadata.managedFields ?? [])
    .filter(({ fieldsV1 }) => ['f:zones', 'f:attributes'].some((field) => fieldsV1?.[field] !== undefined))
    .map(({ manager }) => manager ?? 'unknown');
  const others = [...new Set(owning)].filter((manager) => manager !== FIELD_MANAGER);
  return { others, isOurs: owning.includes(FIELD_MANAGER) };
}

/** Whether the kind is known is told by the version's own page, which needs no right to list objects. */
async function listNothing(request: ObjectRequest): Promise<void> {
  try {
    await ask(request, { method: 'GET', path: '/apis/topology.node.k8s.io/v1alpha2' });
  } catch (error) {
    throw isStatus(error, 404) ? missingCrd() : error;
  }
}

/** For a whole request, milliseconds. */
export const OBJECT_LIMITS: RequestLimits = { answerMs: 30_000, idleMs: 30_000, totalMs: 60_000 };

/** One look at the object, for `holdfast doctor`. @throws as {@link readOwners}, and what opening the access throws */
export async function probeOwners(
  credentials: ApiCredentials,
  nodeName: string,
  signal: AbortSignal,
): Promise<ObjectOwners | undefined> {
  const access = await credentials.open(signal);
  try {
    return await readOwners({ access, nodeName, limits: OBJECT_LIMITS, signal });
  } finally {
    access.close();
  }
}
