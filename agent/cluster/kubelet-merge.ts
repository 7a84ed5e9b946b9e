// The kubelet's effective configuration out of its files and flags, by the kubelet's own rules. Pure.
import { z } from 'zod';
import { HoldfastError } from '../../lib/errors.ts';
import { mergePlain } from '../config/merge.ts';
import { formatProblem } from '../config/problems.ts';
import { type ConfigProblem, type ConfigSource, type PlainMap, parseConfigSource } from '../config/source.ts';
import type { HostText } from '../host/host-tree.ts';
import { CpuSet } from '../model/cpu-set.ts';
import type { KubeletFlags } from './kubelet-flags.ts';

export interface KubeletConfig {
  readonly pid: number;
  /** CPUs that the kubelet keeps for the system; undefined when it names none. */
  readonly reservedSystemCpus?: CpuSet;
  /** `none` or `static`. */
  readonly cpuManagerPolicy: string;
  /** `None` or `Static`. */
  readonly memoryManagerPolicy: string;
  readonly topologyManagerPolicy: string;
  readonly cgroupDriver: string;
  /** Folder of the static pods' manifests; undefined when there is none. */
  readonly staticPodPath?: string;
  readonly containerRuntimeEndpoint: string;
  /** Where the kubelet keeps its own state, cpu_manager_state among it. */
  readonly rootDirectory: string;
  /** Files in the order in which later ones win, then `command line`. */
  readonly sources: readonly string[];
}

const API_VERSION = 'kubelet.config.k8s.io/v1beta1';
const KIND = 'KubeletConfiguration';

const DEFAULT_ENDPOINT = 'unix:///run/containerd/containerd.sock';

const text = z.string().nullish();
/** The keys that we use; everything else in the file is the kubelet's own affair. */
const fieldsSchema = z.looseObject({
  apiVersion: z.literal(API_VERSION),
  kind: z.literal(KIND),
  reservedSystemCPUs: text,
  cpuManagerPolicy: text,
  memoryManagerPolicy: text,
  topologyManagerPolicy: text,
  cgroupDriver: text,
  staticPodPath: text,
  containerRuntimeEndpoint: text,
});

function damaged(problem: string): HoldfastError {
  return new HoldfastError('HOST_FAILURE', `the kubelet's configuration cannot be used: ${problem}`);
}

/** @throws HoldfastError HOST_FAILURE with file and line */
function parseCpus(list: string, where: string): CpuSet {
  try {
    return CpuSet.parse(list);
  } catch (cause) {
    throw new HoldfastError('HOST_FAILURE', `${where}: "${list}" is not a list of CPUs such as "0-3,8"`, { cause });
  }
}

function isProblems(read: ConfigSource | readonly ConfigProblem[]): read is readonly ConfigProblem[] {
  return Array.isArray(read);
}

/** One file, checked. @throws HoldfastError HOST_FAILURE with file and line */
function parseFile(file: HostText): PlainMap {
  const parsed = parseConfigSource(file.path, file.text);
  if (isProblems(parsed)) throw damaged(parsed.map(formatProblem).join('; '));
  const checked = fieldsSchema.safeParse(parsed.value);
  if (!checked.success) {
    const [problem] = checked.error.issues.map((issue) =>
      formatProblem({
        ...parsed.position(issue.path),
        message: `${issue.path.map(String).join('.')}: ${issue.message}`,
      }),
    );
    throw damaged(problem ?? file.path);
  }
  const reserved = checked.data.reservedSystemCPUs;
  if (typeof reserved === 'string') {
    const { line, column } = parsed.position(['reservedSystemCPUs']);
    parseCpus(reserved, `${file.path}:${line}:${column}`);
  }
  return parsed.value;
}

/** An empty text is what the kubelet calls unset. */
function given(...values: readonly (string | null | undefined)[]): string | undefined {
  return values.find((value) => value !== undefined && value !== null && value !== '') ?? undefined;
}

/**
 * Files are merged in the order given, as JSON merge patches (RFC 7396); flags win over all files.
 * @param files - the file of `--config` first, then the drop-ins
 * @throws HoldfastError HOST_FAILURE naming file and line, or the flag
 */
export function mergeKubeletConfig(pid: number, flags: KubeletFlags, files: readonly HostText[]): KubeletConfig {
  const merged = files.map(parseFile).reduce(mergePlain, { apiVersion: API_VERSION, kind: KIND });
  const fields = fieldsSchema.parse(merged);
  const reservedFlag = given(flags.get('reserved-cpus'));
  const reserved = reservedFlag ?? given(fields.reservedSystemCPUs);
  const staticPodPath = given(flags.get('pod-manifest-path'), fields.staticPodPath);
  return {
    pid,
    ...(reserved === undefined
      ? {}
      : {
          reservedSystemCpus: parseCpus(
            reserved,
            reservedFlag === undefined ? 'reservedSystemCPUs' : '--reserved-cpus',
          ),
        }),
    cpuManagerPolicy: given(flags.get('cpu-manager-policy'), fields.cpuManagerPolicy) ?? 'none',
    memoryManagerPolicy: given(flags.get('memory-manager-policy'), fields.memoryManagerPolicy) ?? 'None',
    topologyManagerPolicy: given(flags.get('topology-manager-policy'), fields.topologyManagerPolicy) ?? 'none',
    cgroupDriver: given(flags.get('cgroup-driver'), fields.cgroupDriver) ?? 'cgroupfs',
    ...(staticPodPath === undefined ? {} : { staticPodPath }),
    containerRuntimeEndpoint:
      given(flags.get('container-runtime-endpoint'), fields.containerRuntimeEndpoint) ?? DEFAULT_ENDPOINT,
    rootDirectory: given(flags.get('root-dir')) ?? '/var/lib/kubelet',
    sources: [...files.map(({ path }) => path), 'command line'],
  };
}
