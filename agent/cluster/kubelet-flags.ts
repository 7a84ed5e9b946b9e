// The kubelet's command line, as far as it matters to us. Pure.

/** Flags by name without dashes; of a flag that is given twice the last one counts. */
export type KubeletFlags = ReadonlyMap<KubeletFlag, string>;

const FLAGS = [
  'config',
  'config-dir',
  'reserved-cpus',
  'cpu-manager-policy',
  'memory-manager-policy',
  'topology-manager-policy',
  'container-runtime-endpoint',
  'cgroup-driver',
  'pod-manifest-path',
  'root-dir',
  'kubeconfig',
] as const;

export type KubeletFlag = (typeof FLAGS)[number];

function asFlag(name: string): KubeletFlag | undefined {
  // The kubelet takes underscores for dashes.
  const dashed = name.replaceAll('_', '-');
  return FLAGS.find((flag) => flag === dashed);
}

/**
 * Reads the arguments of a kubelet. All flags that we look for take a value, as `--flag=value` or `--flag value`.
 * @param words - without the program's own name
 */
export function parseKubeletFlags(words: readonly string[]): KubeletFlags {
  const flags = new Map<KubeletFlag, string>();
  for (let index = 0; index < words.length; index += 1) {
    const word = words[index] ?? '';
    if (word === '--') break;
    const match = /^--([^=]+)(?:=([\s\S]*))?$/.exec(word);
    const flag = asFlag(match?.[1] ?? '');
    if (flag === undefined) continue;
    if (match?.[2] !== undefined) flags.set(flag, match[2]);
    else {
      index += 1;
      flags.set(flag, words[index] ?? '');
    }
  }
  return flags;
}
