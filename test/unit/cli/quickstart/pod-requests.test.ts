// What quickstart's CRI client sends, against what a kubelet 1.32 was recorded to send for the same pod.
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { fromBinary } from '@bufbuild/protobuf';
import t from 'tap';
import {
  containerConfig,
  containerHash,
  type PodDescription,
  podCgroupLimits,
  podCgroupPath,
  qosClass,
  sandboxConfig,
} from '../../../../agent/cli/quickstart/pod-requests.ts';
import { bytes, milliCpu } from '../../../../agent/model/quantity.ts';
import {
  ContainerConfigSchema,
  CreateContainerRequestSchema,
  RunPodSandboxRequestSchema,
} from '../../../../proto/gen/wire/cri/v1/cri_pb.ts';

const RECORDING =
  process.env['HOLDFAST_TEST_DATA'] ?? fileURLToPath(new URL('../../../../../shared/data', import.meta.url));
const FILE = `${RECORDING}/cri-traces/kubelet-1.32-static-pod.jsonl.gz`;
const skip = existsSync(FILE) ? false : `the recordings are absent: ${FILE}`;

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
const PATHS = { root: '/var/lib/kubelet', logs: '/var/log/pods', cgroupParent: '/' };

/** The recorded pod: its manifest can be read off the requests. */
const POD: PodDescription = {
  name: 'web-node-1',
  namespace: 'default',
  uid: 'ae28b3f36e072de34860b3f99bb1e6ca',
  labels: { app: 'web' },
  annotations: { 'holdfast.dev/restart': 'reuse', 'holdfast.dev/numa': 'required' },
  terminationGracePeriod: 5,
  initContainers: [{ name: 'setup', image: 'setup' }],
  containers: [
    { name: 'app', image: 'app', cpuLimit: milliCpu(1000), memoryLimit: bytes(64 * MIB) },
    { name: 'side', image: 'side', cpuLimit: milliCpu(100), memoryLimit: bytes(32 * MIB) },
  ],
};

function firstRequest(method: string, matches: (request: Buffer) => boolean = () => true): Buffer {
  for (const line of gunzipSync(readFileSync(FILE)).toString().trim().split('\n')) {
    const entry: { method?: string; request?: string } = JSON.parse(line);
    const request = Buffer.from(entry.request ?? '', 'base64');
    if (entry.method?.endsWith(`/${method}`) === true && matches(request)) return request;
  }
  throw new Error(`no ${method} was recorded`);
}

t.test('RunPodSandbox carries the same identity, labels and sums', { skip }, async (t) => {
  const recorded = fromBinary(RunPodSandboxRequestSchema, firstRequest('RunPodSandbox')).config;
  const ours = sandboxConfig(POD, 0, PATHS);
  t.strictSame(ours.metadata, recorded?.metadata);
  t.strictSame(ours.labels, recorded?.labels);
  t.equal(ours.logDirectory, recorded?.logDirectory);
  t.match(recorded?.annotations, POD.annotations ?? {});
  t.strictSame(ours.linux?.resources, recorded?.linux?.resources);
});

t.test('CreateContainer carries the same resources, labels and annotations', { skip }, async (t) => {
  const isApp = (request: Buffer): boolean =>
    fromBinary(CreateContainerRequestSchema, request).config?.metadata?.name === 'app';
  const recorded = fromBinary(CreateContainerRequestSchema, firstRequest('CreateContainer', isApp)).config;
  const [app] = POD.containers;
  t.ok(app);
  if (app === undefined || recorded === undefined) return;
  const ours = containerConfig(POD, app, 0, PATHS, 24 * GIB);
  t.strictSame(ours.metadata, recorded.metadata);
  t.strictSame(ours.labels, recorded.labels);
  t.equal(ours.logPath, recorded.logPath);
  t.strictSame(Object.keys(ours.annotations).sort(), Object.keys(recorded.annotations).sort());
  t.strictSame(
    { ...ours.annotations, 'io.kubernetes.container.hash': '' },
    { ...recorded.annotations, 'io.kubernetes.container.hash': '' },
  );
  t.strictSame(ours.linux?.resources, recorded.linux?.resources);
  t.strictSame(
    ours.mounts.map(({ containerPath }) => containerPath),
    recorded.mounts.map(({ containerPath }) => containerPath),
  );
  t.equal(ContainerConfigSchema.typeName, recorded.$typeName);
});

t.test('the kubelet’s classes, cgroups and scores', async (t) => {
  const pod = (changes: object): PodDescription => ({
    name: 'p',
    namespace: 'n',
    uid: 'u',
    containers: [{ name: 'c', image: 'i', ...changes }],
  });
  const guaranteed = pod({ cpuLimit: 1500, memoryLimit: MIB });
  const burstable = pod({ cpuRequest: 100 });
  const bestEffort = pod({});
  t.strictSame([guaranteed, burstable, bestEffort].map(qosClass), ['Guaranteed', 'Burstable', 'BestEffort']);
  t.strictSame(
    [guaranteed, burstable, bestEffort].map((each) => podCgroupPath(each, { ...PATHS, cgroupParent: '/x' })),
    ['/x/kubepods/podu', '/x/kubepods/burstable/podu', '/x/kubepods/besteffort/podu'],
  );
  const withSystemd = { ...PATHS, cgroupParent: '/', cgroupDriver: 'systemd' } as const;
  t.strictSame(
    [guaranteed, { ...burstable, uid: 'a-b' }].map((each) => podCgroupPath(each, withSystemd)),
    ['/kubepods.slice/kubepods-podu.slice', '/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-poda_b.slice'],
    'systemd nests slices by their names',
  );
  t.strictSame(podCgroupLimits(guaranteed), { cpuShares: 1536, cpuQuota: 150_000, memoryBytes: MIB });
  t.strictSame(podCgroupLimits(burstable), { cpuShares: 102 });
  t.strictSame(podCgroupLimits(bestEffort), { cpuShares: 2 });
  const scores = [guaranteed, burstable, bestEffort].map((each) => {
    const [container] = each.containers;
    return container && containerConfig(each, container, 0, PATHS, GIB).linux?.resources?.oomScoreAdj;
  });
  t.strictSame(scores, [-997n, 999n, 1000n]);
});

t.test('one container without a limit leaves the pod’s cgroup without one', async (t) => {
  t.strictSame(podCgroupLimits(POD), { cpuShares: 1126 });
  const { initContainers: _, ...limited } = POD;
  t.strictSame(podCgroupLimits(limited), { cpuShares: 1126, cpuQuota: 110_000, memoryBytes: 96 * MIB });
});

t.test('an init container that needs more than the others together decides', async (t) => {
  const pod = {
    ...POD,
    initContainers: [{ name: 'big', image: 'i', cpuLimit: milliCpu(3000), memoryLimit: bytes(GIB) }],
  };
  t.strictSame(podCgroupLimits(pod), { cpuShares: 3072, cpuQuota: 300_000, memoryBytes: GIB });
});

t.test('the hash changes with the image and with nothing else', async (t) => {
  const container = { name: 'app', image: 'a:1' };
  t.equal(containerHash(container), containerHash({ ...container, command: ['sh'] }));
  t.not(containerHash(container), containerHash({ ...container, image: 'a:2' }));
  t.match(containerHash(container), /^[0-9a-f]{1,8}$/);
});
