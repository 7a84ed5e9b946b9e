// What the image has beside Debian's packages: how the machine is reached from outside, and nothing that it does not need.

/** Ports of the machine's only network, which ends at this host's loopback, and the sockets behind them. */
export const GUEST_SOCKETS = {
  '/run/holdfast/cri.sock': 7001,
  '/run/holdfast/agent.sock': 7002,
  '/run/holdfast/topology.sock': 7003,
  '/run/containerd/containerd.sock': 7004,
} as const satisfies Readonly<Record<string, number>>;

export type GuestSocket = keyof typeof GUEST_SOCKETS;

/** Takes a tar archive, unpacks it below / and says so. */
export const UNPACK_PORT = 7000;
export const UNPACKED = 'unpacked';

/** Where the product's disk is mounted as soon as it is there. */
export const PRODUCT_DIRECTORY = '/opt/holdfast';
export const PRODUCT_LABEL = 'product';

/** Units that would only cost time, or change things during a test. */
const MASKED_UNITS = [
  'apt-daily-upgrade.timer',
  'apt-daily.timer',
  'blk-availability.service',
  'dpkg-db-backup.timer',
  'e2scrub_all.timer',
  'e2scrub_reap.service',
  'fstrim.timer',
  'getty.target',
  'ldconfig.service',
  'lvm2-monitor.service',
  'serial-getty@ttyS0.service',
  'sys-fs-fuse-connections.mount',
  'sys-kernel-config.mount',
  'sys-kernel-debug.mount',
  'sys-kernel-tracing.mount',
  'systemd-firstboot.service',
  'systemd-hwdb-update.service',
  'systemd-journal-catalog-update.service',
  'systemd-logind.service',
  'systemd-network-generator.service',
  'systemd-networkd.service',
  'systemd-networkd.socket',
  'systemd-pstore.service',
  'systemd-remount-fs.service',
  'systemd-tmpfiles-clean.timer',
  'systemd-udev-load-credentials.service',
  'systemd-update-done.service',
  'systemd-user-sessions.service',
];

const UNITS = '/etc/systemd/system';

function listenerUnit(port: number, action: string): string {
  return `[Unit]
Description=Test access, port ${port}
Requires=test-network.service
After=test-network.service

[Service]
ExecStart=/usr/bin/socat -t 600 TCP-LISTEN:${port},fork,reuseaddr,nodelay ${action}
Restart=always

[Install]
WantedBy=multi-user.target
`;
}

const NETWORK_UNIT = `[Unit]
Description=Network to the tests
BindsTo=sys-subsystem-net-devices-eth0.device
After=sys-subsystem-net-devices-eth0.device

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/ip link set eth0 up
ExecStart=/usr/sbin/ip address add 10.0.2.15/24 dev eth0

[Install]
WantedBy=multi-user.target
`;

/**
 * The kernel patches its scheduler when the first CPU quota comes and when the last one goes, and QEMU 7.2 lets another CPU
 * run into the patch now and then ("Oops: int3"). With a quota that stays it is patched once, at boot.
 */
const QUOTA_UNIT = `[Unit]
Description=A CPU quota that stays

[Service]
ExecStart=/usr/bin/sleep infinity
CPUQuota=100%

[Install]
WantedBy=multi-user.target
`;

/** At boot only what has a unit or a module of its own is announced again: the rest is half of the boot. */
const FEWER_DEVICES = `[Service]
ExecStart=
ExecStart=udevadm trigger --type=devices --action=add --subsystem-match=block --subsystem-match=net --subsystem-match=virtio --subsystem-match=virtio-ports --subsystem-match=mem --subsystem-match=misc
`;

/** Bound to the device, so that it is mounted after a boot with the disk and after the disk was plugged in. */
const PRODUCT_MOUNT = `[Unit]
Description=The build under test

[Mount]
What=/dev/disk/by-label/${PRODUCT_LABEL}
Where=${PRODUCT_DIRECTORY}
Type=ext4
Options=ro

[Install]
WantedBy=dev-disk-by\\x2dlabel-${PRODUCT_LABEL}.device
`;

export type GuestFile =
  | { readonly path: string; readonly content: string; readonly mode?: number }
  | { readonly path: string; readonly target: string };

/** All of them, in the order in which they are written. */
export function guestFiles(): readonly GuestFile[] {
  const listeners = [
    ...Object.entries(GUEST_SOCKETS).map(([path, port]) => ({ port, action: `UNIX-CONNECT:${path}` })),
    { port: UNPACK_PORT, action: `SYSTEM:"tar -x -C / && echo ${UNPACKED}"` },
  ];
  const enabled = [
    { name: 'test-network.service', content: NETWORK_UNIT, wantedBy: 'multi-user.target' },
    { name: 'test-quota.service', content: QUOTA_UNIT, wantedBy: 'multi-user.target' },
    { name: 'opt-holdfast.mount', content: PRODUCT_MOUNT, wantedBy: `dev-disk-by\\x2dlabel-${PRODUCT_LABEL}.device` },
    ...listeners.map(({ port, action }) => ({
      name: `test-access-${port}.service`,
      content: listenerUnit(port, action),
      wantedBy: 'multi-user.target',
    })),
  ];
  return [
    { path: '/etc/hostname', content: 'node\n' },
    { path: '/etc/hosts', content: '127.0.0.1 localhost node\n' },
    // With an identity of its own the machine does not take its boot for its first, which would enable every unit.
    { path: '/etc/machine-id', content: `${'0123456789abcdef'.repeat(2)}\n` },
    { path: '/etc/systemd/journald.conf.d/volatile.conf', content: '[Journal]\nStorage=volatile\nRateLimitBurst=0\n' },
    {
      path: '/etc/systemd/system.conf.d/test.conf',
      content: '[Manager]\nDefaultTimeoutStartSec=300\nDefaultDeviceTimeoutSec=300\n',
    },
    { path: '/etc/modules-load.d/test.conf', content: 'overlay\nvirtio_net\n' },
    { path: `${UNITS}/systemd-udev-trigger.service.d/test.conf`, content: FEWER_DEVICES },
    ...MASKED_UNITS.map((unit) => ({ path: `${UNITS}/${unit}`, target: '/dev/null' })),
    ...enabled.flatMap(({ name, content, wantedBy }): readonly GuestFile[] => [
      { path: `${UNITS}/${name}`, content },
      { path: `${UNITS}/${wantedBy}.wants/${name}`, target: `../${name}` },
    ]),
  ];
}
