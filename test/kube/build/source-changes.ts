// What has to be changed in the sources of Kubernetes 1.20.2 before it can be built and used here. Each change must fit
// exactly once, so that another version of the sources is noticed.
import { cp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

interface Replacement {
  readonly file: string;
  readonly search: string;
  readonly replacement: string;
}

/** Node's HTTP/2 server refuses the path of a socket as `:authority`; kubelets from 1.26 on send this. */
const AUTHORITY: readonly Replacement[] = ['remote_image.go', 'remote_runtime.go'].map((name) => ({
  file: `pkg/kubelet/cri/remote/${name}`,
  search: 'grpc.DialContext(ctx, addr, ',
  replacement: 'grpc.DialContext(ctx, addr, grpc.WithAuthority("localhost"), ',
}));

/** A kubelet of the tests leaves the kernel's settings of the host alone. */
const KERNEL_SETTINGS: Replacement = {
  file: 'pkg/kubelet/cm/container_manager_linux.go',
  search: 'b := KernelTunableModify\n',
  replacement: 'b := KernelTunableWarn\n',
};

/** Without cgroups per QoS class pods would be in containerd's own cgroup; like this they are in `cgroupRoot`. */
const CGROUP_PARENT: Replacement = {
  file: 'pkg/kubelet/cm/pod_container_manager_linux.go',
  search: '\treturn m.cgroupRoot, ""\n',
  replacement: '\treturn m.cgroupRoot, m.cgroupRoot.ToCgroupfs()\n',
};

/** Environment variables with the folders of logs, which this kubelet has as constants below /var/log. */
export const POD_LOGS_VARIABLE = 'HOLDFAST_TEST_POD_LOGS';
export const CONTAINER_LOGS_VARIABLE = 'HOLDFAST_TEST_CONTAINER_LOGS';

const LOG_FOLDERS: readonly Replacement[] = [
  {
    file: 'pkg/kubelet/kuberuntime/kuberuntime_manager.go',
    search: '\tpodLogsRootDirectory = "/var/log/pods"\n',
    replacement: '',
  },
  {
    file: 'pkg/kubelet/kuberuntime/legacy.go',
    search: '\tlegacyContainerLogsDir = "/var/log/containers"\n',
    replacement: '',
  },
  { file: 'pkg/kubelet/kubelet.go', search: '\tContainerLogsDir = "/var/log/containers"\n', replacement: '' },
];

function goFile(folder: string, variables: Readonly<Record<string, string>>): string {
  const lines = Object.entries(variables).map(([name, variable]) => `var ${name} = os.Getenv("${variable}")\n`);
  return `package ${folder}\n\nimport "os"\n\n${lines.join('')}`;
}

const NEW_FILES: Readonly<Record<string, string>> = {
  'pkg/kubelet/kuberuntime/log_folders.go': goFile('kuberuntime', {
    podLogsRootDirectory: POD_LOGS_VARIABLE,
    legacyContainerLogsDir: CONTAINER_LOGS_VARIABLE,
  }),
  'pkg/kubelet/log_folders.go': goFile('kubelet', { ContainerLogsDir: CONTAINER_LOGS_VARIABLE }),
};

/** The vendored version 1.0.1 crashes with Go 1.18 and newer. */
const REFLECT2 = {
  vendored: 'vendor/github.com/modern-go/reflect2',
  packaged: '/usr/share/gocode/src/github.com/modern-go/reflect2',
};

/**
 * @param source - the unpacked source package
 * @throws Error when a change does not fit, or Debian's reflect2 is not installed
 */
export async function changeSource(source: string): Promise<void> {
  for (const { file, search, replacement } of [...AUTHORITY, KERNEL_SETTINGS, CGROUP_PARENT, ...LOG_FOLDERS]) {
    const path = join(source, file);
    const [before, after, ...more] = (await readFile(path, 'utf8')).split(search);
    if (before === undefined || after === undefined || more.length > 0) {
      throw new Error(`${file} is not as in Kubernetes 1.20.2: ${JSON.stringify(search)} must be in it once`);
    }
    await writeFile(path, `${before}${replacement}${after}`);
  }
  for (const [file, text] of Object.entries(NEW_FILES)) await writeFile(join(source, file), text, { flag: 'wx' });
  await readdir(REFLECT2.packaged);
  await rm(join(source, REFLECT2.vendored), { recursive: true });
  await cp(REFLECT2.packaged, join(source, REFLECT2.vendored), { recursive: true });
}
