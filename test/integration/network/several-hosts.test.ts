// Pods that move between hosts which share their pools in etcd, with real runtimes, agents and interfaces: the address follows
// the pod, and nobody else gets it as long as its host may speak for it.
import t, { type Test } from 'tap';
import { pollUntil } from '../../../agent/cli/quickstart/poll.ts';
import { NEEDS_ETCD } from '../../support/etcd.ts';
import { NEEDS_ROOT, PATIENCE_MS, retrying, settles, until } from '../lifecycle/harness.ts';
import { addressesOf, holdfast, networkPod, type RunningNetworkPod, run, stopAndRemove } from './network-node.ts';
import { FENCING_DELAY_S, LEASE_TTL_S, type SharingNode, startCluster } from './several-hosts.ts';

t.setTimeout(600_000);

/** That have addresses in the range. */
const MOST_PODS = 20;

const KEEP = { 'holdfast.dev/ip': 'keep' };
const keeper = (name: string) => networkPod(KEEP, { name });
const onlyAddress = async (pod: RunningNetworkPod): Promise<string> =>
  ((await addressesOf(pod))[0] ?? 'none').replace(/\/.*/, '');

/** Lines of `holdfast ip ls` about the address, as far as they tell whose it is. */
async function recordOf(node: SharingNode, address: string): Promise<unknown> {
  const { addresses = [] } = JSON.parse(await holdfast(node, 'ip', 'ls', '-o', 'json')) as {
    readonly addresses?: readonly { address: string; state: string; host: string; containerId: string }[];
  };
  const found = addresses.find((each) => each.address === address);
  return found && { state: found.state, host: found.host, containerId: found.containerId };
}

/** The command fails when something of the agent does. */
const statusOf = (node: SharingNode): Promise<string> =>
  holdfast(node, 'status').catch((error: unknown) => (error as { readonly stdout: string }).stdout);

/** Until it is joined again, at the end of the test at the latest. */
async function cutOff(t: Test, node: SharingNode): Promise<void> {
  t.teardown(() => node.setManagement(true));
  await node.setManagement(false);
}

/** Does it again and again until it fails. @returns why */
async function tries(times: number, work: () => Promise<void>): Promise<string> {
  for (let n = 0; n < times; n += 1) {
    try {
      await work();
    } catch (error) {
      return String(error);
    }
  }
  return `all ${times} succeeded`;
}

const held = (node: SharingNode, { sandboxId }: RunningNetworkPod) => ({
  state: 'held',
  host: node.nodeName,
  containerId: sandboxId,
});

t.test('pods of several hosts', { skip: NEEDS_ROOT || NEEDS_ETCD }, async (t) => {
  const { etcd, hosts, outsider } = await startCluster(t, 2, ['*.10-*.29']);
  const [a, b] = hosts as [SharingNode, SharingNode];
  const isReached = async (address: string) => outsider.canReach(address);

  await t.test('a pod that moves keeps its address, and is reached there', async (t) => {
    const first = await run(a, keeper('db-0'));
    const address = await onlyAddress(first);
    await outsider.reaches(address);
    const began = performance.now();
    await stopAndRemove(a, first.sandboxId);
    const second = await run(b, keeper('db-0'));
    t.equal(await onlyAddress(second), address);
    await outsider.reaches(address);
    t.comment(`reached on the other host ${Math.round(performance.now() - began)} ms after its removal began`);
    t.strictSame(await recordOf(a, address), held(b, second));
    await stopAndRemove(b, second.sandboxId);
    t.match(await recordOf(a, address), { state: 'kept' });
  });

  await t.test('an address that a stranger has is put aside, and the pod gets another one', async (t) => {
    const one = await run(a, networkPod({}));
    const address = await onlyAddress(one);
    await stopAndRemove(a, one.sandboxId);
    await outsider.ip(`addr add ${address}/24 dev eth0`);
    t.teardown(async () => void (await outsider.ip(`addr del ${address}/24 dev eth0`)));
    const pods: RunningNetworkPod[] = [];
    const refused = await tries(MOST_PODS, async () => void pods.push(await run(a, networkPod({}))));
    t.match(refused, /in use.*put aside/);
    t.match(await recordOf(b, address), { state: 'quarantined' });
    pods.push(await run(a, networkPod({})));
    t.notOk((await Promise.all(pods.map(onlyAddress))).includes(address));
    for (const { sandboxId } of pods) await stopAndRemove(a, sandboxId);
  });

  await t.test('a host that is cut off etcd falls silent before its pod may be had elsewhere', async (t) => {
    const pod = await run(a, keeper('db-1'));
    const bystander = await run(a, networkPod({}));
    const address = await onlyAddress(pod);
    await outsider.reaches(address);
    await cutOff(t, a);
    await until('the address to be silent', async () => !(await isReached(address)));
    t.ok(await isReached(await onlyAddress(bystander)), 'what nobody could take over stays');
    t.match(await statusOf(a), /no lease in etcd/);
    const moved = await retrying('the pod to start on the other host', () => run(b, keeper('db-1')));
    t.equal(await onlyAddress(moved), address);
    await outsider.reaches(address);
    await a.setManagement(true);
    await until('the host to have its lease again', async () => (await statusOf(a)).includes('has its lease in etcd'));
    t.strictSame(await recordOf(a, address), held(b, moved));
    await stopAndRemove(a, pod.sandboxId);
    await stopAndRemove(a, bystander.sandboxId);
    t.ok(await isReached(address), 'the removal of the old pod took nothing from the new one');
    await stopAndRemove(b, moved.sandboxId);
  });

  await t.test('what nobody took over goes up again', async (t) => {
    const pod = await run(a, keeper('db-2'));
    const address = await onlyAddress(pod);
    await cutOff(t, a);
    await until('the address to be silent', async () => !(await isReached(address)));
    await a.setManagement(true);
    await outsider.reaches(address);
    t.strictSame(await recordOf(a, address), held(a, pod));
    await stopAndRemove(a, pod.sandboxId);
  });

  await t.test(
    'an agent that was paused takes down what was taken over meanwhile, as soon as it goes on',
    async (t) => {
      const pod = await run(a, keeper('db-3'));
      const address = await onlyAddress(pod);
      const agent = a.agent.pid();
      if (agent === undefined) throw new Error('the agent does not run');
      process.kill(agent, 'SIGSTOP');
      t.teardown(() => void process.kill(agent, 'SIGCONT'));
      // The kernel of a paused agent goes on answering: the probe hears it.
      const heard = async (): Promise<true | undefined> =>
        (await tries(1, async () => void (await run(b, keeper('db-3'))))).includes(`still answers for ${address}`) ||
        undefined;
      await pollUntil('the probe to hear the old interface', PATIENCE_MS, heard);
      process.kill(agent, 'SIGCONT');
      const moved = await retrying('the pod to start on the other host', () => run(b, keeper('db-3')));
      t.equal(await onlyAddress(moved), address);
      await outsider.reaches(address);
      t.strictSame(await recordOf(a, address), held(b, moved));
      await stopAndRemove(a, pod.sandboxId);
      await stopAndRemove(b, moved.sandboxId);
    },
  );

  await t.test('while etcd is away pods are restarted, and new ones wait', async (t) => {
    const [member] = etcd.members;
    const pod = keeper('db-4');
    const first = await run(a, pod);
    const address = await onlyAddress(first);
    await member?.kill('SIGKILL');
    await a.kubelet.stopPodSandbox(first.sandboxId);
    const outcome = await Promise.allSettled([run(a, pod), run(a, networkPod({}))]);
    await member?.start();
    t.match(outcome, [{ status: 'fulfilled' }, { status: 'rejected', reason: /UNAVAILABLE/ }]);
    await settles(t, 'etcd is told of it', { state: 'held', host: 'host-a' }, async () => {
      const record = (await recordOf(a, address)) as { state: string; host: string } | undefined;
      return record && { state: record.state, host: record.host };
    });
    await outsider.reaches(address);
    await a.kubelet.deletePod(pod.uid);
  });

  for (const point of ['network.add.granted', 'network.add.joined', 'network.del.silenced', 'network.del.released']) {
    await t.test(`an agent that is killed at ${point}, on the way to another host`, async (t) => {
      const pod = keeper(`db-${point}`.replaceAll('.', '-'));
      const first = await retrying('the pod to start', () => run(a, pod));
      const address = await onlyAddress(first);
      const [host, act] = point.startsWith('network.add')
        ? ([b, () => stopAndRemove(a, first.sandboxId).then(() => run(b, pod))] as const)
        : ([a, () => stopAndRemove(a, first.sandboxId)] as const);
      await host.arm(point);
      const acting = act().catch((error: unknown) => error);
      await host.agent.ended();
      await host.restartAgent();
      await acting;
      await retrying('the old sandbox to go', () => a.kubelet.deletePod(pod.uid));
      const second = await retrying('the pod to start on the other host', () => run(b, pod));
      t.equal(await onlyAddress(second), address);
      await outsider.reaches(address);
      t.strictSame(await recordOf(a, address), held(b, second));
      await stopAndRemove(b, second.sandboxId);
    });
  }

  await t.test('a host that will not come back is given up by an administrator', async (t) => {
    const pod = keeper('db-5');
    const first = await run(a, pod);
    const address = await onlyAddress(first);
    await t.rejects(holdfast(b, 'ip', 'release', '--host', 'host-a', '--yes'), /has its lease/);
    await a.agent.kill('SIGKILL');
    const release = () => holdfast(b, 'ip', 'release', '--host', 'host-a', '--yes');
    t.match(await retrying('the lease to end', release), /1 sandboxes/);
    await t.rejects(run(b, pod), /still answers/, 'the host is not off');
    await a.namespace.ip('link set up0 down');
    const second = await retrying('the pod to start on the other host', () => run(b, pod));
    t.equal(await onlyAddress(second), address);
    await a.agent.start();
    await until('the old interface to be down', async () =>
      (await statusOf(a)).includes('1 interfaces are taken down'),
    );
    await a.namespace.ip('link set up0 up');
    await outsider.reaches(address);
    await retrying('the old pod to go', () => a.kubelet.deletePod(pod.uid));
    await stopAndRemove(b, second.sandboxId);
  });

  t.comment(`leases of ${LEASE_TTL_S} s, a fencing delay of ${FENCING_DELAY_S} s, patience of ${PATIENCE_MS} ms`);
});
