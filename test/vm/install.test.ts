// `holdfast install`, an upgrade and `holdfast uninstall` on a machine with systemd, containerd and running pods. The
// kubelet is a stand-in: a program under systemd that connects to the endpoint it was given, four times a second, and
// writes down every connection that is refused.
import t, { type Test } from 'tap';
import { CriClient } from '../../agent/cli/quickstart/cri-client.ts';
import { pollUntil } from '../../agent/cli/quickstart/poll.ts';
import { ContainerState } from '../../proto/gen/wire/cri/v1/cri_pb.ts';
import { neighbour, somePod } from '../integration/lifecycle/pods.ts';
import { PRODUCT_DIRECTORY, PRODUCT_LABEL } from './machine/guest-files.ts';
import { type Machine, NEEDS_ROOT, startMachine } from './machine/machine.ts';
import { TWO_NODES } from './machine/shapes.ts';
import { leasesOf } from './node/kept-layers.ts';
import { kubeletHost } from './node/kubelet-host.ts';
import { PATIENCE_MS } from './node/node.ts';

/** Of the client outside that makes the pods: not among what is compared. */
const KUBELET_DIRECTORY = '/srv/kubelet';
const INSTALL_TIMEOUT_MS = 10 * 60_000;
const DISK = '/mnt/disk';
/** The product without its client of the API server, which nothing here uses and which takes a minute to be copied. */
const PRODUCT = '/mnt/product';
const NEXT = '/mnt/next';
const BROKEN = '/mnt/broken';
const STAND_IN_LOG = '/run/stand-in-kubelet.log';
/** While it is there, the stand-in ends at once when it is given the shim's socket. */
const REFUSES = '/run/stand-in-refuses';

const STAND_IN = `import { appendFileSync } from 'node:fs';
import { connect } from 'node:net';
const flag = process.argv.filter((word) => word.startsWith('--container-runtime-endpoint=')).at(-1) ?? '';
const path = flag.replace(/^[^=]*=unix:\\/\\//, '');
appendFileSync('${STAND_IN_LOG}', 'started with ' + path + '\\n');
setInterval(() => {
  const socket = connect(path, () => socket.end());
  socket.on('error', (error) => appendFileSync('${STAND_IN_LOG}', 'refused ' + path + ' ' + error.code + '\\n'));
}, 250);
`;

const LAUNCHER = `#!/bin/bash
if test -e ${REFUSES} && [[ "$*" == *holdfast* ]]; then exit 1; fi
exec -a /usr/local/bin/kubelet node /usr/local/lib/stand-in-kubelet.mjs "$@"
`;

const FLAG = '--container-runtime-endpoint=unix:///run/containerd/containerd.sock';
const UNIT = `[Unit]
StartLimitIntervalSec=0
[Service]
EnvironmentFile=-/etc/default/kubelet
ExecStart=/usr/local/bin/kubelet --config=/var/lib/kubelet/config.yaml $KUBELET_EXTRA_ARGS
Restart=always
RestartSec=1
[Install]
WantedBy=multi-user.target
`;

/** Another view of a folder, which can be changed without copying it. */
function overlay(from: string, to: string): string {
  const options = `lowerdir=${from},upperdir=${to}.upper,workdir=${to}.work`;
  return `mkdir -p ${to} ${to}.upper ${to}.work && mount -t overlay -o ${options} overlay ${to}`;
}

/** Each function that V8 compiles costs the emulation what it had translated; without that a start takes two thirds. */
const JITLESS = 'NODE_OPTIONS=--jitless';

/** The product's disk elsewhere, so that /opt is the machine's own; the kubelet and what it needs. */
async function prepare(machine: Machine): Promise<void> {
  await machine.writeFile('/usr/local/lib/stand-in-kubelet.mjs', STAND_IN);
  await machine.writeFile('/usr/local/bin/kubelet', LAUNCHER);
  await machine.writeFile('/etc/systemd/system/kubelet.service', UNIT);
  await machine.writeFile('/etc/default/kubelet', `KUBELET_EXTRA_ARGS="${FLAG}"\n`);
  const config = 'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nstaticPodPath: ""\n';
  await machine.writeFile('/var/lib/kubelet/config.yaml', config);
  await machine.run(`set -e
systemctl mask --runtime --now opt-holdfast.mount
rmdir ${PRODUCT_DIRECTORY} || true
mkdir -p ${DISK} && mount -o ro LABEL=${PRODUCT_LABEL} ${DISK}
${overlay(DISK, PRODUCT)}
sed -i '/"@kubernetes/d' ${PRODUCT}/package.json
chmod +x /usr/local/bin/kubelet
systemctl set-environment ${JITLESS}
systemctl daemon-reload
systemctl enable --quiet --now kubelet.service`);
}

/** All that an installation could leave: files, units, the group, leases; what systemd-sysusers itself leaves does not count. */
async function remains(machine: Machine): Promise<unknown> {
  const places = '/etc /opt /usr/local /usr/lib/systemd /usr/lib/sysusers.d /var/lib /run/holdfast /run/systemd/system';
  const { stdout: files } = await machine.attempt(
    `find ${places} -xdev -not -path '/var/lib/containerd/*' -not -path '/var/lib/systemd/*'`,
  );
  return {
    files: files
      .split('\n')
      .toSorted()
      .filter((path) => !/^\/etc\/(?:\.pwd\.lock|g?shadow-|group-|passwd-)$/.test(path)),
    units: await machine.run("systemctl list-units --all --no-legend --plain 'holdfast*'"),
    unitFiles: await machine.run('systemctl list-unit-files --no-legend --plain | grep -c holdfast || true'),
    group: await machine.run('cat /etc/group'),
    kubelet: await machine.run('systemctl cat kubelet.service; cat /etc/default/kubelet /var/lib/kubelet/config.yaml'),
    leases: await leasesOf(machine),
  };
}

async function standInEndpoint(machine: Machine): Promise<string> {
  return (await machine.run(`grep '^started' ${STAND_IN_LOG} | tail -n 1`)).trim().replace('started with ', '');
}

/** CPUs that the process may use, and its cgroup's quota. */
async function confinement(machine: Machine, pid: number): Promise<string> {
  const script = `grep Cpus_allowed_list /proc/${pid}/status | cut -f 2; cat /sys/fs/cgroup$(cut -d : -f 3 /proc/${pid}/cgroup)/cpu.max`;
  return (await machine.run(script)).trim().replace('\n', ' ');
}

t.test('a node with running pods', { skip: NEEDS_ROOT }, async (t) => {
  const machine = await startMachine(t, TWO_NODES);
  await prepare(machine);
  const client = (socket: '/run/holdfast/cri.sock' | '/run/containerd/containerd.sock'): CriClient => {
    const made = new CriClient({
      directory: KUBELET_DIRECTORY,
      cgroupParent: '/',
      cgroupDriver: 'systemd',
      host: kubeletHost(machine, 'systemd'),
      socketPath: machine.socket(socket),
    });
    t.teardown(() => made.close());
    return made;
  };
  const direct = client('/run/containerd/containerd.sock');
  const kubelet = client('/run/holdfast/cri.sock');
  const holdfast = (words: string) => machine.attempt(`${JITLESS} ${words}`, INSTALL_TIMEOUT_MS);

  const plain = neighbour();
  const plainId = (await direct.makePod(plain)).containerIds.get('app') ?? '';
  const plainPid = await direct.processId(plainId);
  const before = await remains(machine);

  await t.test('a kubelet that does not come up with the shim is pointed back', async (t) => {
    await machine.run(`touch ${REFUSES}`);
    const { exitCode, stdout, stderr } = await holdfast(`${PRODUCT}/bin/holdfast install`);
    t.equal(exitCode, 1);
    t.match(stderr, /uses the runtime again, as before/, stdout);
    t.equal(await standInEndpoint(machine), '/run/containerd/containerd.sock');
    t.equal(await machine.run('systemctl is-active kubelet.service'), 'active\n');
    await machine.run(`rm ${REFUSES}`);
  });

  await t.test('completed by running it again: the kubelet uses the shim, pods run on', async (t) => {
    const { exitCode, stdout, stderr } = await holdfast('holdfast install');
    t.equal(exitCode, 0, stdout + stderr);
    t.match(stdout, /\+ExecStart=\/usr\/local\/bin\/kubelet .*--container-runtime-endpoint=unix:\/\/\/run\/holdfast/);
    t.match(stdout, /ok +installation:/);
    t.match(stdout, /ok +kubelet runtime endpoint:/);
    t.equal(await standInEndpoint(machine), '/run/holdfast/cri.sock');
    t.equal(await direct.processId(plainId), plainPid, 'the same process');
    t.match(await confinement(machine, plainPid), /^0-3 /);
  });

  await t.test('a second time there is nothing to do', async (t) => {
    const { exitCode, stdout } = await holdfast('holdfast install');
    t.equal(exitCode, 0);
    t.match(stdout, /Nothing to do/);
  });

  const [owner, keeper] = [
    somePod({ 'holdfast.dev/cpuset': 'exclusive' }),
    somePod({ 'holdfast.dev/restart': 'reuse' }),
  ];
  const ownerId = (await kubelet.makePod(owner)).containerIds.get('app') ?? '';
  const ownerPid = await direct.processId(ownerId);
  t.match(await confinement(machine, ownerPid), /^\d max /, 'one CPU, and no quota');

  /** The same program under another version number, without copying it. */
  const makeVersion = (folder: string, version: string): Promise<string> =>
    machine.run(`set -e
${overlay(DISK, folder)}
sed -i '/"@kubernetes/d' ${folder}/package.json
sed -i 's/"version": "[^"]*"/"version": "${version}"/' ${folder}/package.json
: > ${STAND_IN_LOG}`);
  const assertUndisturbed = async (t: Test): Promise<void> => {
    t.equal(await machine.run(`cat ${STAND_IN_LOG}`), '', 'no connection was refused');
    t.strictSame([await direct.processId(plainId), await direct.processId(ownerId)], [plainPid, ownerPid]);
    t.match(await confinement(machine, ownerPid), /^\d max /, 'it owns its CPU still');
  };

  await t.test('upgraded in place: no connection is refused, containers do not notice', async (t) => {
    await makeVersion(NEXT, '9.9.9');
    const { exitCode, stdout, stderr } = await holdfast(`${NEXT}/bin/holdfast install`);
    t.equal(exitCode, 0, stdout + stderr);
    t.match(stdout, /restart holdfast-agent\.service[\s\S]*restart holdfast-cri-shim\.service/);
    t.match(stdout, /ok +agent: version 9\.9\.9/);
    t.notMatch(stdout, /restart kubelet|restart holdfast-cri-shim\.socket/);
    await assertUndisturbed(t);
  });

  await t.test('an upgrade that does not come up is taken back: the version before runs again', async (t) => {
    await makeVersion(BROKEN, '10.0.0');
    // It can tell what it is, which is tried before anything changes, but not serve.
    const crash = "if (process.argv[2] === 'cri-shim' && process.argv[3] !== '--help') process.exit(1);";
    await machine.run(`sed -i "2i ${crash}" ${BROKEN}/bin/holdfast`);
    const { exitCode, stdout, stderr } = await holdfast(`${BROKEN}/bin/holdfast install`);
    t.equal(exitCode, 1, stdout);
    t.match(stderr, /the new version did not come up, and the one before is in use again/);
    t.equal(await machine.run('holdfast --version'), '9.9.9\n');
    t.equal(await machine.run('systemctl is-active holdfast-agent holdfast-cri-shim'), 'active\nactive\n');
    t.match(await kubelet.containerStatus(ownerId), { state: ContainerState.CONTAINER_RUNNING }, 'the shim answers');
    await assertUndisturbed(t);
  });

  await keepALayer(t, machine, kubelet, keeper);

  await t.test('uninstalling without a terminal asks for --yes, and says what would be lost', async (t) => {
    const { exitCode, stdout, stderr } = await holdfast('holdfast uninstall < /dev/null');
    t.not(exitCode, 0);
    t.match(stderr, /--yes/);
    t.match(stdout, new RegExp(`${keeper.name} +app +kept`));
    t.equal((await leasesOf(machine)).length, 1, 'nothing was changed');
  });

  await t.test('uninstalled: nothing is left, and nobody is confined', async (t) => {
    const { exitCode, stdout, stderr } = await holdfast('holdfast uninstall --yes');
    t.equal(exitCode, 0, stdout + stderr);
    t.equal(await standInEndpoint(machine), '/run/containerd/containerd.sock');
    t.strictSame(await remains(machine), before);
    t.strictSame([await direct.processId(plainId), await direct.processId(ownerId)], [plainPid, ownerPid]);
    t.match(await confinement(machine, plainPid), /^0-3 /);
    t.equal(await confinement(machine, ownerPid), '0-3 100000 100000', 'all CPUs, within its limit of one');
  });
});

/** A container of a reuse pod is gone, and its layer is kept. */
async function keepALayer(
  t: Test,
  machine: Machine,
  kubelet: CriClient,
  pod: ReturnType<typeof somePod>,
): Promise<void> {
  const id = (await kubelet.makePod(pod)).containerIds.get('app') ?? '';
  await machine.run(`kill -KILL ${await kubelet.processId(id)}`);
  await pollUntil('the container to be seen as exited', PATIENCE_MS, async () => {
    const status = await kubelet.containerStatus(id);
    return status?.finishedAt === undefined || status.finishedAt === 0n ? undefined : true;
  });
  await kubelet.removeContainer(id);
  t.equal((await leasesOf(machine)).length, 1, 'its layer is kept');
}
