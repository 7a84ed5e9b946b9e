// The placement that a pod would get now, for schedulers and `holdfast plan`: what a creation does, on a copy. Pure;
// nothing is reserved.
import type { MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import { HoldfastError } from '../../lib/errors.ts';
import type {
  ContainerRequest,
  PlanPlacementRequestSchema,
  PlanPlacementResponseSchema,
} from '../../proto/gen/holdfast/topology/v1/topology_pb.ts';
import { ANNOTATION_DOMAIN, parsePodPolicy } from '../model/annotations.ts';
import { podUid } from '../model/ids.ts';
import type { ResourceNeed } from '../model/pod.ts';
import { DEFAULT_POLICY, type PodPolicy, policyOf } from '../model/policy.ts';
import { bytes, milliCpu } from '../model/quantity.ts';
import type { Ledger } from './ledger.ts';
import type { ContainerAsk } from './plan-need.ts';
import { planPod } from './plan-pod.ts';
import { askOf } from './pod-asks.ts';

type PlanPlacementRequest = MessageShape<typeof PlanPlacementRequestSchema>;
type PlanPlacementResponse = MessageInitShape<typeof PlanPlacementResponseSchema>;

/**
 * Which policy a pod with these annotations has in the namespace.
 * @throws HoldfastError NOT_GRANTED for what the namespace may not have
 */
export type DecidePolicy = (namespace: string, annotations: Readonly<Record<string, string>>) => PodPolicy;

/** Where nobody denies anything and nothing has another default. */
const asAnnotated: DecidePolicy = (_namespace, annotations) => parsePodPolicy(annotations, DEFAULT_POLICY);

/** More containers than any pod has. */
const MOST_CONTAINERS = 1000;
/** More page sizes than any processor has. */
const MOST_PAGE_SIZES = 16;
/** Characters of a caller's text that an error repeats: it becomes a header of the answer. */
const MOST_QUOTED = 60;
/** A DNS label (RFC 1123), as the API server requires of namespaces and containers. */
const LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
/** Not the UID of a pod: Kubernetes uses lower-case hexadecimal digits. */
const TRIAL = podUid('trial');

function invalid(message: string): HoldfastError {
  return new HoldfastError('INVALID_REQUEST', message);
}

function quoted(text: string): string {
  return JSON.stringify(text.length <= MOST_QUOTED ? text : `${text.slice(0, MOST_QUOTED)}…`);
}

function requireLabel(field: string, text: string): void {
  if (!LABEL.test(text)) {
    throw invalid(`${field} is ${quoted(text)}; it must be up to 63 lower-case letters, digits and dashes`);
  }
}

function requireWord(field: string, text: string, words: readonly string[]): void {
  if (text !== '' && !words.includes(text)) {
    throw invalid(`${field} is ${quoted(text)}; use one of ${words.join(', ')}`);
  }
}

/** Adds up as exact numbers, over all containers of a request. */
class Quantities {
  readonly #sums = new Map<string, bigint>();

  take(field: string, value: bigint): number {
    const sum = (this.#sums.get(field) ?? 0n) + value;
    this.#sums.set(field, sum);
    if (sum <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(value);
    const negative = value >= 1n << 63n ? ' (a negative number is none)' : '';
    throw invalid(`${field} is ${value}${negative}; all containers together must stay below 2^53`);
  }
}

function needFrom(container: ContainerRequest, quantities: Quantities): ResourceNeed {
  const milli = milliCpu(quantities.take('cpu_millis', container.cpuMillis));
  const memory = bytes(quantities.take('memory_bytes', container.memoryBytes));
  const hugepages = new Map<number, ReturnType<typeof bytes>>();
  for (const { pageSizeBytes, bytes: amount } of container.hugepages) {
    const size = new Quantities().take('page_size_bytes', pageSizeBytes);
    if (size === 0 || hugepages.has(size) || hugepages.size === MOST_PAGE_SIZES) {
      throw invalid(`hugepages: up to ${MOST_PAGE_SIZES} page sizes, each once and none of them 0`);
    }
    hugepages.set(size, bytes(quantities.take('hugepages.bytes', amount)));
  }
  return {
    cpuRequest: milli,
    cpuLimit: milli,
    // A container without a request and a limit has no 0 there: its need is not known, and it is not bound to memory.
    ...(memory === 0 ? {} : { memoryRequest: memory }),
    hugepages,
  };
}

/** What the request asks for as a pod would: in annotations. */
function annotationsOf({ numa, containers }: PlanPlacementRequest, names: readonly string[]): Record<string, string> {
  const own = containers.map(({ cpuset }, index): [string, string] => [
    `${names[index] ?? ''}.${ANNOTATION_DOMAIN}/cpuset`,
    cpuset,
  ]);
  const all: readonly [string, string][] = [[`${ANNOTATION_DOMAIN}/numa`, numa], ...own];
  return Object.fromEntries(all.filter(([, value]) => value !== ''));
}

interface Asked {
  readonly namespace: string;
  readonly names: readonly string[];
  readonly needs: readonly ResourceNeed[];
}

/** @throws HoldfastError INVALID_REQUEST */
function read(request: PlanPlacementRequest): Asked {
  const namespace = request.namespace === '' ? 'default' : request.namespace;
  requireLabel('namespace', namespace);
  requireWord('numa', request.numa, ['none', 'preferred', 'required']);
  const { containers } = request;
  if (containers.length === 0 || containers.length > MOST_CONTAINERS) {
    throw invalid(`containers: 1 to ${MOST_CONTAINERS}, not ${containers.length}`);
  }
  const names = containers.map(({ name }, index) => (name === '' ? `container-${index}` : name));
  for (const name of names) requireLabel('the name of a container', name);
  if (new Set(names).size < names.length) throw invalid('containers: each must have a name of its own');
  for (const { cpuset } of containers) requireWord('cpuset', cpuset, ['shared', 'exclusive']);
  const quantities = new Quantities();
  return { namespace, names, needs: containers.map((container) => needFrom(container, quantities)) };
}

/** @returns why not, where a creation would be refused for what is asked: its author wants to read that as an answer */
function askAs<Result>(ask: () => Result): Result | string {
  try {
    return ask();
  } catch (error) {
    const refusal = error instanceof HoldfastError && ['INVALID_REQUEST', 'NOT_GRANTED'].includes(error.code);
    if (refusal) return error.message;
    throw error;
  }
}

/**
 * Plans a pod on what is left, and leaves everything as it is.
 * @throws HoldfastError INVALID_REQUEST when the request cannot be read; a request that does not fit is an answer
 */
export function planPlacement(
  ledger: Ledger,
  request: PlanPlacementRequest,
  decidePolicy: DecidePolicy = asAnnotated,
): PlanPlacementResponse {
  const { namespace, names, needs } = read(request);
  const asked = askAs(() => {
    const policy = decidePolicy(namespace, annotationsOf(request, names));
    const containers = names.map(
      (name, index): ContainerAsk =>
        askOf(name, 'app', policyOf(policy, name), needs[index] ?? { hugepages: new Map() }),
    );
    return { numa: policy.numa, containers };
  });
  if (typeof asked === 'string') return { fits: false, reason: asked };
  const { numa, containers } = asked;
  const plan = planPod(ledger.room, { uid: TRIAL, namespace, name: 'trial', numa }, { basis: 'spec', containers });
  if (!plan.ok) return { fits: false, reason: plan.reason, nodeReasons: [...plan.nodeReasons] };
  const trial = ledger.copy();
  trial.set(plan.holding);
  return {
    fits: true,
    numaNodes: plan.holding.nodes.toString(),
    reason: plan.holding.note ?? '',
    containers: containers.map(({ name, cpuset, need }) => {
      const seat = trial.seatOf(TRIAL, name);
      const mems = need.memory === undefined ? '' : trial.memsOf(seat.nodes).toString();
      return { name, cpuset, cpus: seat.cpus.toString(), mems };
    }),
  };
}
