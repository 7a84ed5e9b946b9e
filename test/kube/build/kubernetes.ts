// Kubernetes 1.20.2 from Debian 12's source package, with kubectl and CNI plugins from its binary packages: built once
// and kept in the cache of the tests.
import { mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fromCache } from '../../support/build-cache.ts';
import { openPrivateApt, type PrivateApt } from './private-apt.ts';
import { runProgram } from './programs.ts';
import { changeSource } from './source-changes.ts';

const VERSION = 'v1.20.2';
const GO_DIRECTORY = '/usr/lib/go-1.19/bin';
const COMMANDS = ['kube-apiserver', 'kube-controller-manager', 'kube-scheduler', 'kubelet'] as const;
/** What a pod's own network needs: an interface of the pod, its address, and its loopback device. */
const CNI_PLUGINS = ['bridge', 'host-local', 'loopback'] as const;
/** No docker, no clouds: a third of the kubelet's packages less. */
const TAGS = 'dockerless,providerless';
const PACKAGE = 'k8s.io/kubernetes';
const VERSION_PACKAGE = `${PACKAGE}/vendor/k8s.io/component-base/version`;
const LINKER_FLAGS = `-s -w -X ${VERSION_PACKAGE}.gitVersion=${VERSION} -X ${VERSION_PACKAGE}.gitMajor=1 -X ${VERSION_PACKAGE}.gitMinor=20`;

/** Runs `go` in the source folder. */
type Go = (args: readonly string[]) => Promise<string>;

/** Packages with types of the API, each a path below the source; examples and the generators' own are none of it. */
async function packagesWithOpenApi(source: string): Promise<readonly string[]> {
  const apis = (await readdir(join(source, 'vendor/k8s.io'))).map((name) => `vendor/k8s.io/${name}/`);
  const found = await runProgram(
    'grep',
    ['--recursive', '--files-with-matches', '--include=*.go', '+k8s:openapi-gen=', 'pkg', 'cmd', 'plugin', ...apis],
    { cwd: source },
  );
  const foreign = /_test\.go$|\/testdata\/|\/(?:code-generator|sample-apiserver|kube-openapi)\//;
  const folders = found
    .trim()
    .split('\n')
    .filter((file) => !foreign.test(file))
    .map((file) => file.slice(0, file.lastIndexOf('/')));
  return [...new Set(folders)].toSorted();
}

/** The API server's description of its types is generated code that no source package has. */
async function generateOpenApi(source: string, go: Go, work: string): Promise<void> {
  const generator = join(work, 'openapi-gen');
  await go(['build', '-o', generator, './vendor/k8s.io/kube-openapi/cmd/openapi-gen']);
  const packages = (await packagesWithOpenApi(source)).map((folder) => `${PACKAGE}/${folder}`);
  const flags = {
    '--input-dirs': packages.join(','),
    '--output-package': `${PACKAGE}/pkg/generated/openapi`,
    '--output-file-base': 'zz_generated.openapi',
    '--go-header-file': 'vendor/k8s.io/code-generator/hack/boilerplate.go.txt',
    '--report-filename': join(work, 'api-violations'),
  };
  await runProgram(generator, Object.entries(flags).flat(), { cwd: source, env: goEnvironment(work) });
}

function goEnvironment(work: string): Readonly<Record<string, string>> {
  return {
    PATH: `${GO_DIRECTORY}:${process.env['PATH'] ?? ''}`,
    GOPATH: join(work, 'go'),
    GOCACHE: join(work, 'go-cache'),
    GOTMPDIR: work,
    GO111MODULE: 'off',
    GOFLAGS: '-trimpath',
    CGO_ENABLED: '0',
  };
}

async function buildCommands(apt: PrivateApt, work: string, folder: string): Promise<void> {
  const source = join(work, 'go/src', PACKAGE);
  await mkdir(join(source, '..'), { recursive: true });
  await apt.unpackSource('kubernetes', source);
  await changeSource(source);
  const go: Go = (args) => runProgram('go', args, { cwd: source, env: goEnvironment(work) });
  await generateOpenApi(source, go, work);
  // One call for all: they share most of their packages.
  const packages = COMMANDS.map((name) => `./cmd/${name}`);
  await go(['build', '-tags', TAGS, '-ldflags', LINKER_FLAGS, '-o', `${folder}/`, ...packages]);
}

async function unpackTools(apt: PrivateApt, work: string, folder: string): Promise<void> {
  const unpacked = join(work, 'unpacked');
  await mkdir(unpacked);
  for (const name of ['kubernetes-client', 'containernetworking-plugins']) await apt.unpack(name, unpacked);
  await rename(join(unpacked, 'usr/bin/kubectl'), join(folder, 'kubectl'));
  await mkdir(join(folder, 'cni'));
  for (const name of CNI_PLUGINS) await rename(join(unpacked, 'usr/lib/cni', name), join(folder, 'cni', name));
}

async function build(folder: string): Promise<void> {
  process.stderr.write(`# building Kubernetes ${VERSION}, once: this takes five to ten minutes\n`);
  const work = join(folder, 'work');
  await mkdir(join(work, 'apt'), { recursive: true });
  const apt = await openPrivateApt(join(work, 'apt'));
  await unpackTools(apt, work, folder);
  await buildCommands(apt, work, folder);
  await rm(work, { recursive: true });
}

/**
 * Where the programs are: those of the control plane, `kubelet`, `kubectl`, and the CNI plugins in `cni`.
 * @throws Error when a package of the recipe is missing or the sources are not those of 1.20.2
 */
export async function kubernetesPrograms(): Promise<string> {
  const recipe = ['kubernetes.ts', 'private-apt.ts', 'source-changes.ts'].map((name) =>
    join(import.meta.dirname, name),
  );
  const inputs = await Promise.all(recipe.map((path) => readFile(path, 'utf8')));
  const isSound = async (folder: string): Promise<boolean> =>
    (await runProgram(join(folder, 'kubelet'), ['--version'])).includes(VERSION);
  return fromCache({ name: 'kubernetes', inputs: [process.arch, ...inputs], build, isSound });
}
