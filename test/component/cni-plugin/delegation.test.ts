// As the IPAM plugin of somebody else: Debian's ptp calls the real executable, and makes of its result what the reference
// implementation makes of any. In network namespaces of its own, so that nothing of the host is touched.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import t from 'tap';
import { HoldfastError } from '../../../lib/errors.ts';
import { startCniServer } from '../../support/cni-client.ts';
import { ATTACHED, recordingHandler } from '../../support/recording-cni-handler.ts';
import { type Executable, launcher, start } from './executables.ts';

const PTP = '/usr/lib/cni/ptp';
const VERSIONS = ['0.4.0', '1.0.0'] as const;

function reasonToSkip(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root for network namespaces';
  if (!existsSync(PTP)) return 'needs the package containernetworking-plugins';
  return spawnSync('ip', ['-V']).error === undefined ? undefined : 'needs iproute2';
}

function ip(...args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync('ip', args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`ip ${args.join(' ')}: ${stderr}`);
  return stdout;
}

const skip = reasonToSkip();
const built = skip ?? launcher(t);

t.test('the reference ptp plugin takes addresses from it', { skip: typeof built === 'string' && built }, async (t) => {
  if (typeof built === 'string') return;
  const [host, pod] = [`hf-host-${process.pid}`, `hf-pod-${process.pid}`];
  for (const name of [host, pod]) {
    t.teardown(() => spawnSync('ip', ['netns', 'del', name]));
    ip('netns', 'add', name);
  }
  let full = false;
  const handler = recordingHandler(async ({ command }) => {
    if (full && command === 'ADD') throw new HoldfastError('NO_ROOM', 'pool a is full');
    const addresses = [
      { address: '192.0.2.5/24', gateway: '192.0.2.1' },
      { address: '2001:db8::5/64', gateway: '2001:db8::1' },
    ];
    return { interfaces: [], addresses, routes: [{ dst: '0.0.0.0/0' }], dns: ATTACHED.dns ?? {} };
  });
  const { path } = await startCniServer(t, handler);
  const ptp: Executable = { name: 'ptp', command: ['ip', 'netns', 'exec', host, PTP] };
  const call = (command: string, version: string, rest: object = {}) => {
    const environment = {
      PATH: process.env['PATH'] ?? '',
      HOLDFAST_CNI_SOCKET: path,
      CNI_COMMAND: command,
      CNI_CONTAINERID: 'c0ffee',
      CNI_NETNS: `/run/netns/${pod}`,
      CNI_IFNAME: 'eth0',
      CNI_ARGS: 'IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0',
      CNI_PATH: dirname(built.command[0]),
    };
    const config = {
      cniVersion: version,
      name: 'pods',
      type: 'ptp',
      ipam: { type: 'holdfast', pool: 'edge' },
      ...rest,
    };
    return start(t, ptp, environment, JSON.stringify(config)).ended;
  };
  const succeeded = (name: string, { exitStatus, stdout, stderr }: Awaited<ReturnType<typeof call>>): void => {
    if (!t.equal(exitStatus, 0, name)) t.comment(stdout, stderr);
  };
  for (const version of VERSIONS) {
    handler.requests.length = 0;
    const added = await call('ADD', version);
    succeeded(`ADD in ${version}`, added);
    t.match(ip('-n', pod, 'addr', 'show', 'dev', 'eth0'), /inet 192\.0\.2\.5\/24[\s\S]*inet6 2001:db8::5\/64/);
    const checked = await call('CHECK', version, { prevResult: JSON.parse(added.stdout) as unknown });
    succeeded(`CHECK in ${version}`, checked);
    const deleted = await call('DEL', version);
    succeeded(`DEL in ${version}`, deleted);
    t.match(handler.requests, [
      {
        command: 'ADD',
        config: { dataPlane: { mode: 'ipam' }, pool: 'edge' },
        pod: { namespace: 'default', name: 'web-0' },
      },
      { command: 'CHECK', expected: ['192.0.2.5/24', '2001:db8::5/64'] },
      { command: 'DEL', id: { network: 'pods', containerId: 'c0ffee', ifname: 'eth0' } },
    ]);
    t.equal(handler.requests.length, 3);
  }
  full = true;
  const refused = await call('ADD', '1.0.0');
  t.equal(refused.exitStatus, 1);
  t.match(
    JSON.parse(refused.stdout),
    { code: 50, msg: 'holdfast NO_ROOM: pool a is full' },
    'the error arrives as it is',
  );
});
