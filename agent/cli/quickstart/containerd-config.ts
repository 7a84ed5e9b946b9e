// The configuration of the private containerd: every path below one directory, nothing of the host's touched.
import { join } from 'node:path';
import { PAUSE_IMAGE } from './images.ts';

export interface ContainerdSettings {
  /** Everything that containerd keeps, its socket included, is below this directory. */
  readonly directory: string;
  /** Whether this process may lower an OOM score (CAP_SYS_RESOURCE); without it containers could not be created. */
  readonly mayLowerOomScore: boolean;
  readonly systemdCgroup: boolean;
}

/** Plugins that touch places of the host or need what is not there. */
const DISABLED_PLUGINS = [
  'io.containerd.internal.v1.opt',
  'io.containerd.internal.v1.restart',
  'io.containerd.internal.v1.tracing',
  'io.containerd.nri.v1.nri',
  'io.containerd.snapshotter.v1.aufs',
  'io.containerd.snapshotter.v1.blockfile',
  'io.containerd.snapshotter.v1.btrfs',
  'io.containerd.snapshotter.v1.devmapper',
  'io.containerd.snapshotter.v1.zfs',
  'io.containerd.tracing.processor.v1.otlp',
];

/** A TOML basic string; JSON's escapes are all TOML's. */
const quote = (text: string): string => JSON.stringify(text);

export function containerdSocket(directory: string): string {
  return join(directory, 'containerd.sock');
}

export function runcRoot(directory: string): string {
  return join(directory, 'runc');
}

/** The file in containerd's own format, version 2 (1.6 to 2.x read it). */
export function containerdConfig({ directory, mayLowerOomScore, systemdCgroup }: ContainerdSettings): string {
  const path = (...parts: readonly string[]): string => quote(join(directory, ...parts));
  return `version = 2
root = ${path('root')}
state = ${path('state')}
disabled_plugins = [${DISABLED_PLUGINS.map(quote).join(', ')}]

[grpc]
  address = ${quote(containerdSocket(directory))}

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = ${quote(PAUSE_IMAGE)}
  restrict_oom_score_adj = ${!mayLowerOomScore}
  # Would load a profile into the host's kernel.
  disable_apparmor = true
  # Else below /run/netns, where a killed run would leave them.
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = ${path('cni', 'bin')}
    conf_dir = ${path('cni', 'net.d')}
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        Root = ${quote(runcRoot(directory))}
        SystemdCgroup = ${systemdCgroup}
`;
}
