// The machine's containerd: Debian's service with a configuration as an operator writes it, and the images of the tests.
import { buildImageArchive } from '../../../agent/cli/quickstart/image-archive.ts';
import { describeImages, PAUSE_IMAGE } from '../../../agent/cli/quickstart/images.ts';

/** Who makes the cgroups of containers: systemd, as scopes, or the runtime by itself. Kubelet and runtime must agree. */
export type CgroupDriver = 'systemd' | 'cgroupfs';

export const CONTAINERD_CONFIG = '/etc/containerd/config.toml';
/** In the machine, while they are imported. */
export const IMAGES_DIRECTORY = '/var/tmp/images';

export function guestContainerdConfig(driver: CgroupDriver): string {
  return `version = 2

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = ${JSON.stringify(PAUSE_IMAGE)}
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = ${driver === 'systemd'}
`;
}

/** The images' archives in their order; the same busybox gives the same bytes. */
export async function imageArchives(): Promise<readonly Buffer[]> {
  return (await describeImages()).map((image) => buildImageArchive(image));
}

/** Run in the machine. */
export const IMPORT_IMAGES = `set -e
systemctl restart containerd
for archive in ${IMAGES_DIRECTORY}/*.tar; do ctr --namespace k8s.io images import --snapshotter overlayfs "$archive"; done
rm -r ${IMAGES_DIRECTORY}`;
