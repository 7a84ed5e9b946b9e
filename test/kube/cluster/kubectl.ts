// kubectl as an administrator's terminal has it.
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { KubernetesObject } from '@kubernetes/client-node';
import { PATIENCE_MS } from './wait.ts';

const MOST_OUTPUT = 64 << 20;

/** Anything that `kubectl apply` takes. */
export type Manifest = KubernetesObject & { readonly spec?: unknown };

export interface Kubectl {
  /** @returns its standard output @throws Error with its standard error */
  readonly kubectl: (...args: readonly string[]) => Promise<string>;
  /** The same, with something on its standard input. */
  readonly kubectlWith: (input: string, ...args: readonly string[]) => Promise<string>;
  /** `kubectl apply` of these. */
  readonly apply: (...manifests: readonly Manifest[]) => Promise<void>;
}

/**
 * @param programs - the folder with the executable
 * @param cache - a folder for what it learns of the API server
 */
export function createKubectl(programs: string, kubeconfig: string, cache: string): Kubectl {
  const kubectlWith: Kubectl['kubectlWith'] = async (input, ...args) => {
    const common = ['--kubeconfig', kubeconfig, '--cache-dir', cache];
    const running = promisify(execFile)(join(programs, 'kubectl'), [...common, ...args], {
      timeout: PATIENCE_MS,
      maxBuffer: MOST_OUTPUT,
    });
    running.child.stdin?.end(input);
    return (await running).stdout;
  };
  return {
    kubectl: (...args) => kubectlWith('', ...args),
    kubectlWith,
    apply: async (...manifests) => {
      await kubectlWith(manifests.map((manifest) => JSON.stringify(manifest)).join('\n'), 'apply', '--filename', '-');
    },
  };
}
