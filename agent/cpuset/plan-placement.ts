// The placement that a pod would get now, for schedulers and `holdfast plan`. Pure; nothing is reserved.
import type { MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import { HoldfastError } from '../../lib/errors.ts';
import type {
  ContainerRequest,
  PlanPlacementRequestSchema,
  PlanPlacementResponseSchema,
} from '../../proto/gen/holdfast/topology/v1/topology_pb.ts';
import { podUid } from '../model/ids.ts';
import type { ResourceNeed } from '../model/pod.ts';
import type { ContainerPolicy, NumaPolicy } from '../model/policy.ts';
import { bytes, milliCpu } from '../model/quantity.ts';
import type { Ledger } from './ledger.ts';
import type { ContainerAsk } from './plan-need.ts';
import { planPod } from './plan-pod.ts';
import { askOf } from './pod-asks.ts';

type PlanPlacementResponse = MessageInitShape<typeof PlanPlacementResponseSchema>;

/** More containers than any pod has. */
const MOST_CONTAINERS = 1000;
/** Not the UID of a pod: Kubernetes uses lower-case hexadecimal digits. */
const TRIAL = podUid('trial');

function oneOf<Value extends string>(field: string, text: string, values: readonly Value[], absent: Value): Value {
  const value = values.find((each) => each === text);
  if (value !== undefined) return value;
  if (text === '') return absent;
  throw new HoldfastError('INVALID_REQUEST', `${field} is "${text}"; use one of ${values.join(', ')}`);
}

function quantity(field: string, value: bigint): number {
  if (value <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(value);
  throw new HoldfastError('INVALID_REQUEST', `${field} is ${value}; it must be below 2^53`);
}

/** @returns why not, where a container asks for CPUs that cannot be owned: its author wants to read that as an answer */
function askFrom(container: ContainerRequest, name: string, numa: NumaPolicy): ContainerAsk | string {
  const cpuset = oneOf('cpuset', container.cpuset, ['shared', 'exclusive'], 'shared');
  const policy: ContainerPolicy = { restart: 'rebuild', cpuset, numa, numaScope: 'pod' };
  const milli = milliCpu(quantity('cpu_millis', container.cpuMillis));
  const need: ResourceNeed = {
    cpuRequest: milli,
    cpuLimit: milli,
    memoryRequest: bytes(quantity('memory_bytes', container.memoryBytes)),
    hugepages: new Map(
      container.hugepages.map((each) => [
        quantity('page_size_bytes', each.pageSizeBytes),
        bytes(quantity('hugepages.bytes', each.bytes)),
      ]),
    ),
  };
  try {
    return askOf(name, 'app', policy, need);
  } catch (error) {
    if (error instanceof HoldfastError && error.code === 'INVALID_REQUEST') return error.message;
    throw error;
  }
}

/**
 * Plans a pod on what is left, and leaves everything as it is.
 * @throws HoldfastError INVALID_REQUEST when the request cannot be read; a request that does not fit is an answer
 */
export function planPlacement(
  ledger: Ledger,
  request: MessageShape<typeof PlanPlacementRequestSchema>,
): PlanPlacementResponse {
  const numa = oneOf('numa', request.numa, ['none', 'preferred', 'required'], 'none');
  const names = request.containers.map(({ name }, index) => (name === '' ? `container-${index}` : name));
  if (names.length === 0 || names.length > MOST_CONTAINERS || new Set(names).size < names.length) {
    throw new HoldfastError('INVALID_REQUEST', `containers: 1 to ${MOST_CONTAINERS}, each with a name of its own`);
  }
  const asked = request.containers.map((container, index) => askFrom(container, names[index] ?? '', numa));
  const impossible = asked.find((ask) => typeof ask === 'string');
  if (impossible !== undefined) return { fits: false, reason: impossible };
  const containers = asked.filter((ask) => typeof ask !== 'string');
  const pod = { uid: TRIAL, namespace: request.namespace, name: 'trial', numa };
  const plan = planPod(ledger.room, pod, { basis: 'spec', containers });
  if (!plan.ok) return { fits: false, reason: plan.reason, nodeReasons: [...plan.nodeReasons] };
  const trial = ledger.copy();
  trial.set(plan.holding);
  return {
    fits: true,
    numaNodes: plan.holding.nodes.toString(),
    reason: plan.holding.note ?? '',
    containers: containers.map(({ name, cpuset }) => {
      const seat = trial.seatOf(TRIAL, name);
      return { name, cpuset, cpus: seat.cpus.toString(), mems: trial.memsOf(seat.nodes).toString() };
    }),
  };
}
