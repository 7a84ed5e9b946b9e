// Where an installation is on the host. The units of systemd/ name the same paths.
export const LAYOUT = {
  /** One folder per build; `current` is a link to the one in use. */
  programs: '/opt/holdfast',
  current: '/opt/holdfast/current',
  command: '/usr/local/bin/holdfast',
  units: '/etc/systemd/system',
  sysusers: '/etc/sysusers.d/holdfast.conf',
  configuration: '/etc/holdfast',
  config: '/etc/holdfast/config.yaml',
  state: '/var/lib/holdfast',
  manifest: '/var/lib/holdfast/install.json',
  lock: '/var/lib/holdfast/install.lock',
  run: '/run/holdfast',
  agentSocket: '/run/holdfast/agent.sock',
  shimSocket: '/run/holdfast/cri.sock',
} as const;

export const AGENT_UNIT = 'holdfast-agent.service';
export const SHIM_UNIT = 'holdfast-cri-shim.service';
export const SHIM_SOCKET_UNIT = 'holdfast-cri-shim.socket';

export const GROUP = 'holdfast';

/** What `systemctl enable` would make of the units' [Install] sections: link → unit. */
export const WANTS: Readonly<Record<string, string>> = {
  [`${LAYOUT.units}/multi-user.target.wants/${AGENT_UNIT}`]: `${LAYOUT.units}/${AGENT_UNIT}`,
  [`${LAYOUT.units}/multi-user.target.wants/${SHIM_UNIT}`]: `${LAYOUT.units}/${SHIM_UNIT}`,
  [`${LAYOUT.units}/sockets.target.wants/${SHIM_SOCKET_UNIT}`]: `${LAYOUT.units}/${SHIM_SOCKET_UNIT}`,
};

/** What the programs use where nothing says otherwise. */
export const DEFAULT_UPSTREAM = '/run/containerd/containerd.sock';
