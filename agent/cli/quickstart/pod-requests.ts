// What a kubelet puts into its CRI requests, from a pod's description. Pure; compared with recordings of kubelet 1.32.
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import {
  type ContainerConfig,
  ContainerConfigSchema,
  type LinuxContainerResources,
  LinuxContainerResourcesSchema,
  NamespaceMode,
  type PodSandboxConfig,
  PodSandboxConfigSchema,
} from '../../../proto/gen/wire/cri/v1/cri_pb.ts';
import type { Bytes, MilliCpu } from '../../model/quantity.ts';
import type { PodCgroupLimits } from './cgroup-tree.ts';

export interface ContainerDescription {
  readonly name: string;
  readonly image: string;
  readonly command?: readonly string[];
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Absent: the limit, as the API server fills it in. */
  readonly cpuRequest?: MilliCpu;
  readonly cpuLimit?: MilliCpu;
  readonly memoryRequest?: Bytes;
  readonly memoryLimit?: Bytes;
}

export interface PodDescription {
  readonly name: string;
  readonly namespace: string;
  readonly uid: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  /** Run one after the other, before the others. */
  readonly initContainers?: readonly ContainerDescription[];
  readonly containers: readonly ContainerDescription[];
  /** Seconds; default 30. */
  readonly terminationGracePeriod?: number;
  /** `pod`: one of its own, made by the runtime's CNI plugins. Default: the host's, for which no plugin is needed. */
  readonly network?: 'host' | 'pod';
}

/** Who makes the cgroups of pods and containers: the kubelet and the runtime themselves, or systemd for them. */
export type CgroupDriver = 'cgroupfs' | 'systemd';

/** Where the pretended kubelet keeps things. */
export interface KubeletPaths {
  /** Stands for /var/lib/kubelet. */
  readonly root: string;
  /** Stands for /var/log/pods. */
  readonly logs: string;
  /** Stands for the root of the cgroup hierarchies. With systemd it is that root, `/`. */
  readonly cgroupParent: string;
  /** Default: cgroupfs. */
  readonly cgroupDriver?: CgroupDriver;
}

export type QosClass = 'Guaranteed' | 'Burstable' | 'BestEffort';

const PERIOD = 100_000;
const MASKED_PATHS = [
  'asound',
  'acpi',
  'interrupts',
  'kcore',
  'keys',
  'latency_stats',
  'timer_list',
  'sched_debug',
  'scsi',
]
  .map((name) => `/proc/${name}`)
  .concat('/sys/firmware', '/sys/devices/virtual/powercap');
const READONLY_PATHS = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

function cpuRequest(container: ContainerDescription): number | undefined {
  return container.cpuRequest ?? container.cpuLimit;
}

function memoryRequest(container: ContainerDescription): number | undefined {
  return container.memoryRequest ?? container.memoryLimit;
}

export function allContainers({ initContainers = [], containers }: PodDescription): readonly ContainerDescription[] {
  return [...initContainers, ...containers];
}

export function qosClass(pod: PodDescription): QosClass {
  const containers = allContainers(pod);
  const guaranteed = containers.every(
    (container) =>
      container.cpuLimit !== undefined &&
      container.memoryLimit !== undefined &&
      cpuRequest(container) === container.cpuLimit &&
      memoryRequest(container) === container.memoryLimit,
  );
  if (guaranteed) return 'Guaranteed';
  const asksForSome = containers.some(
    (container) => (cpuRequest(container) ?? 0) > 0 || (memoryRequest(container) ?? 0) > 0,
  );
  return asksForSome ? 'Burstable' : 'BestEffort';
}

function shares(milliCpus: number): number {
  return Math.max(2, Math.floor((milliCpus * 1024) / 1000));
}

/** Microseconds per period; 0 for no limit. */
function quota(milliCpus: number | undefined): number {
  return milliCpus === undefined || milliCpus === 0 ? 0 : Math.max(1000, (milliCpus * PERIOD) / 1000);
}

/** The kubelet's qos.GetContainerOOMScoreAdjust. */
function oomScore(pod: PodDescription, container: ContainerDescription, hostMemory: number): number {
  const qos = qosClass(pod);
  if (qos === 'Guaranteed') return -997;
  if (qos === 'BestEffort') return 1000;
  const adjust = 1000 - Math.floor((1000 * (memoryRequest(container) ?? 0)) / hostMemory);
  return Math.min(999, Math.max(3, adjust));
}

function containerResources(
  pod: PodDescription,
  container: ContainerDescription,
  hostMemory: number,
): LinuxContainerResources {
  const memory = BigInt(container.memoryLimit ?? 0);
  return create(LinuxContainerResourcesSchema, {
    cpuPeriod: BigInt(PERIOD),
    cpuQuota: BigInt(quota(container.cpuLimit)),
    cpuShares: BigInt(shares(cpuRequest(container) ?? 0)),
    memoryLimitInBytes: memory,
    memorySwapLimitInBytes: memory,
    oomScoreAdj: BigInt(oomScore(pod, container, hostMemory)),
    hugepageLimits: [{ pageSize: '2MB' }, { pageSize: '1GB' }],
  });
}

type ResourceOf = (container: ContainerDescription) => number | undefined;

/** What a pod needs at most at one time: its containers together, or one init container where that needs more. */
function podSum({ initContainers = [], containers }: PodDescription, amountOf: ResourceOf): number {
  const together = containers.reduce((sum, container) => sum + (amountOf(container) ?? 0), 0);
  return Math.max(together, ...initContainers.map((container) => amountOf(container) ?? 0));
}

/** As {@link podSum}; undefined when one container has no value, which leaves the pod's cgroup unlimited. */
function podSumIfAll(pod: PodDescription, amountOf: ResourceOf): number | undefined {
  return allContainers(pod).every((container) => amountOf(container) !== undefined) ? podSum(pod, amountOf) : undefined;
}

export function podCgroupLimits(pod: PodDescription): PodCgroupLimits {
  const cpuLimit = podSumIfAll(pod, (container) => container.cpuLimit);
  const memoryLimit = podSumIfAll(pod, (container) => container.memoryLimit);
  return {
    cpuShares: shares(podSum(pod, cpuRequest)),
    ...(cpuLimit !== undefined && { cpuQuota: quota(cpuLimit) }),
    ...(memoryLimit !== undefined && { memoryBytes: memoryLimit }),
  };
}

/**
 * Below the hierarchies' root, Guaranteed pods directly below kubepods: with cgroupfs `…/kubepods/burstable/pod<uid>`,
 * with systemd `…/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<uid>.slice` and no `-` in the UID.
 */
export function podCgroupPath(pod: PodDescription, { cgroupParent, cgroupDriver = 'cgroupfs' }: KubeletPaths): string {
  const qos = qosClass(pod);
  const names = ['kubepods', ...(qos === 'Guaranteed' ? [] : [qos.toLowerCase()]), `pod${pod.uid}`];
  if (cgroupDriver === 'cgroupfs') return join(cgroupParent, ...names);
  const escaped = names.map((name) => name.replaceAll('-', '_'));
  return join(cgroupParent, ...escaped.map((_, index) => `${escaped.slice(0, index + 1).join('-')}.slice`));
}

function podLabels(pod: PodDescription): Record<string, string> {
  return {
    'io.kubernetes.pod.name': pod.name,
    'io.kubernetes.pod.namespace': pod.namespace,
    'io.kubernetes.pod.uid': pod.uid,
  };
}

function namespacesOf({ network }: PodDescription) {
  const mode = network === 'pod' ? NamespaceMode.POD : NamespaceMode.NODE;
  return { network: mode, pid: NamespaceMode.CONTAINER, ipc: NamespaceMode.POD };
}

/** @param attempt - 0 for the first sandbox of the pod, one more for each that follows */
export function sandboxConfig(pod: PodDescription, attempt: number, paths: KubeletPaths): PodSandboxConfig {
  return create(PodSandboxConfigSchema, {
    metadata: { name: pod.name, namespace: pod.namespace, uid: pod.uid, attempt },
    // Pods on the host's network have its host name, and the kubelet sends none.
    hostname: pod.network === 'pod' ? pod.name : '',
    logDirectory: join(paths.logs, `${pod.namespace}_${pod.name}_${pod.uid}`),
    labels: { ...pod.labels, ...podLabels(pod) },
    annotations: { ...pod.annotations, 'kubernetes.io/config.source': 'api' },
    linux: {
      cgroupParent: podCgroupPath(pod, paths),
      securityContext: { namespaceOptions: namespacesOf(pod) },
      overhead: {},
      resources: {
        cpuPeriod: BigInt(PERIOD),
        cpuQuota: BigInt(quota(podSum(pod, (container) => container.cpuLimit))),
        cpuShares: BigInt(shares(podSum(pod, cpuRequest))),
        memoryLimitInBytes: BigInt(podSum(pod, (container) => container.memoryLimit)),
      },
    },
  });
}

/** FNV-1a, 32 bits: what the kubelet hashes containers with, since 1.31 over name and image only. */
export function containerHash({ name, image }: ContainerDescription): string {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(JSON.stringify({ image, name }))) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash.toString(16);
}

/**
 * @param attempt - 0 for the first container of this name in the pod, one more for each that follows
 * @param hostMemory - bytes; the kubelet's memory capacity
 */
export function containerConfig(
  pod: PodDescription,
  container: ContainerDescription,
  attempt: number,
  paths: KubeletPaths,
  hostMemory: number,
): ContainerConfig {
  const podDirectory = join(paths.root, 'pods', pod.uid);
  const terminationLog = join(podDirectory, 'containers', container.name, `${attempt}`);
  return create(ContainerConfigSchema, {
    metadata: { name: container.name, attempt },
    image: { image: container.image, userSpecifiedImage: container.image },
    command: [...(container.command ?? [])],
    args: [...(container.args ?? [])],
    envs: Object.entries(container.env ?? {}).map(([key, value]) => ({ key, value: Buffer.from(value) })),
    mounts: [
      { containerPath: '/etc/hosts', hostPath: join(podDirectory, 'etc-hosts') },
      { containerPath: '/dev/termination-log', hostPath: terminationLog },
    ],
    labels: { ...podLabels(pod), 'io.kubernetes.container.name': container.name },
    annotations: {
      'io.kubernetes.container.hash': containerHash(container),
      'io.kubernetes.container.restartCount': `${attempt}`,
      'io.kubernetes.container.terminationMessagePath': '/dev/termination-log',
      'io.kubernetes.container.terminationMessagePolicy': 'File',
      'io.kubernetes.pod.terminationGracePeriod': `${pod.terminationGracePeriod ?? 30}`,
    },
    logPath: join(container.name, `${attempt}.log`),
    linux: {
      resources: containerResources(pod, container, hostMemory),
      securityContext: {
        namespaceOptions: namespacesOf(pod),
        maskedPaths: MASKED_PATHS,
        readonlyPaths: READONLY_PATHS,
      },
    },
  });
}
