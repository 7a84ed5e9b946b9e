// The kubelet of a host as far as pointing it at the shim goes.

/** Distributions that bring the kubelet within a program or a service of their own. */
export type EmbeddedKubelet = 'k3s' | 'RKE2' | 'k0s' | 'MicroK8s';

export interface KubeletFacts {
  readonly embedded: EmbeddedKubelet | undefined;
  /** undefined while it does not run. */
  readonly pid: number | undefined;
  /** Service of systemd that runs it, and its commands (ExecStart) as they are without our drop-in. */
  readonly unit: { readonly name: string; readonly commands: readonly string[] } | undefined;
  /** What it would use without us, such as `unix:///run/containerd/containerd.sock`. */
  readonly endpoint: string;
  /** The command line says so; flags win over files. */
  readonly endpointByFlag: boolean;
  /** Folder of drop-ins for its configuration (`--config-dir`). */
  readonly configDirectory: string | undefined;
  /** A drop-in that sets the endpoint and is read after ours would be. */
  readonly laterDropIn: string | undefined;
  /** A drop-in of its unit that sets ExecStart and is read after ours would be. */
  readonly laterUnitDropIn: string | undefined;
  /** By its command line and its files as they are now it uses the shim. */
  readonly pointed: boolean;
  readonly cpuManagerPolicy: string;
}

/** Sorts after what people and packages use. */
export const UNIT_DROP_IN = '99-holdfast.conf';
export const CONFIG_DROP_IN = '99-holdfast.conf';

/** The path of an endpoint's socket, as the host has it; undefined when it is none of a unix socket. */
export function socketOfEndpoint(endpoint: string): string | undefined {
  const path = endpoint.startsWith('/') ? endpoint : /^unix:(?:\/\/)?(\/.*)$/.exec(endpoint)?.[1];
  return path?.replace(/^\/var\/run\//, '/run/').replaceAll(/\/{2,}/g, '/');
}
