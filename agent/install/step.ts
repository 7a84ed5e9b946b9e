// What a plan to install or uninstall is made of. Plain data: shown first, then carried out in this order.
import type { Compiler } from '../host/compile-launcher.ts';
import type { Manifest } from './manifest.ts';

/** Content of a file that is there before the step. */
export interface Before {
  readonly text: string;
  readonly mode: number;
}

export type Step =
  /** Writes the manifest; never shown as a change of its own. */
  | { readonly do: 'record'; readonly manifest: Manifest }
  | { readonly do: 'copy-program'; readonly from: string; readonly to: string }
  | {
      readonly do: 'write';
      readonly path: string;
      readonly text: string;
      readonly mode: number;
      readonly before?: Before;
      /** What people should know about the file that is replaced. */
      readonly note?: string;
    }
  | { readonly do: 'link'; readonly path: string; readonly target: string; readonly before?: string }
  | { readonly do: 'remove'; readonly path: string; readonly before?: string; readonly note?: string }
  | { readonly do: 'remove-tree'; readonly path: string; readonly note?: string }
  /** Only when nothing is in it. */
  | { readonly do: 'remove-empty'; readonly path: string; readonly note?: string }
  /** systemctl, systemd-sysusers or groupdel. */
  | {
      readonly do: 'run';
      readonly program: string;
      readonly args: readonly string[];
      /** What it means when the program fails, where that is no reason to stop. */
      readonly otherwise?: string;
    }
  /** Until it answers; for the kubelet, until it has run for a while with the endpoint. */
  | { readonly do: 'await-agent' | 'await-shim' }
  | { readonly do: 'await-kubelet'; readonly unit: string; readonly pointed: boolean }
  /** Containers that were confined get every CPU again, and the CPU quota that their limit means. */
  | { readonly do: 'release-cpus'; readonly runtime: string }
  /** Kept layers and their leases go. */
  | { readonly do: 'drop-layers'; readonly runtime: string }
  /** Compiles the CNI plugin's launcher and puts it in place. */
  | {
      readonly do: 'place-launcher';
      readonly path: string;
      /** Of launcher.c, on the host. */
      readonly source: string;
      readonly mark: string;
      readonly compiler: Compiler;
      /** Something is replaced. */
      readonly isThere: boolean;
      readonly note: string;
    }
  /** What pods' networks had on the host, once no pod uses it. */
  | { readonly do: 'clear-network' };

export const systemctl = (...args: readonly string[]): Step => ({ do: 'run', program: 'systemctl', args });

/** A reason why the plan is not carried out, and what to do about it. */
export interface Blocker {
  readonly text: string;
  readonly remedy: string;
}
