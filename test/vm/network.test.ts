// Pods with addresses of their own on a machine with systemd: the agent's unit leaves it what it needs for them, and a reboot
// or a power cut leaves the pods theirs.
import t from 'tap';
import type { PodDescription } from '../../agent/cli/quickstart/pod-requests.ts';
import { neighbour } from '../integration/lifecycle/pods.ts';
import { NEEDS_ROOT } from './machine/machine.ts';
import { TWO_NODES } from './machine/shapes.ts';
import { settles } from './node/facts.ts';
import { startNode, type VmNode } from './node/node.ts';
import { keepRunning, recoverPod } from './node/pods.ts';

const GATEWAY = '10.88.7.1';
const POOLS = {
  pods: {
    subnets: [
      { cidr: '10.88.7.0/24', gateway: GATEWAY },
      { cidr: 'fd00:88:7::/64', gateway: 'fd00:88:7::1' },
    ],
    masquerade: true,
  },
};
/** Probed, so that packet sockets are needed, too. */
const PLUGIN = { bridge: 'holdfast0', probe: true };

const onPodNetwork = (annotations: Readonly<Record<string, string>>, name: string): PodDescription => ({
  ...neighbour(),
  name,
  annotations,
  network: 'pod',
});

async function inPod({ machine, direct }: VmNode, containerId: string, command: string): Promise<string> {
  return await machine.run(`nsenter -t ${await direct.processId(containerId)} -n ${command}`);
}

/** Those that others reach it by. */
async function addressesOf(node: VmNode, containerId: string): Promise<readonly string[]> {
  const [link] = JSON.parse(await inPod(node, containerId, 'ip -json address show dev eth0')) as readonly {
    readonly addr_info: readonly { readonly local: string; readonly scope: string }[];
  }[];
  return (link?.addr_info ?? []).filter(({ scope }) => scope === 'global').map(({ local }) => local);
}

t.test('pods with addresses of their own', { skip: NEEDS_ROOT }, async (t) => {
  const [keeper, other] = [onPodNetwork({ 'holdfast.dev/ip': 'keep' }, 'db-0'), onPodNetwork({}, 'web-0')];
  const node = await startNode(t, TWO_NODES, { network: { pools: POOLS, plugin: PLUGIN } });
  await node.writePods([keeper, other]);
  const first = await keepRunning(node, keeper);
  const had = await addressesOf(node, first);
  t.equal(had.length, 2, 'one of each family');
  await keepRunning(node, other);
  await inPod(node, first, `busybox ping -c 1 -W 20 ${GATEWAY}`);
  t.match(await node.machine.run('nft list table inet holdfast'), /masquerade/);

  for (const [what, happens] of [
    ['a clean reboot', node.machine.reboot],
    ['a power cut', node.machine.powerCut],
  ] as const) {
    await t.test(what, async (t) => {
      await node.machine.run('sync');
      await happens();
      // First, so that it could take the address of the one that keeps it.
      const another = await recoverPod(node, other);
      t.notOk((await addressesOf(node, another)).some((each) => had.includes(each)));
      const again = await recoverPod(node, keeper);
      t.strictSame(await addressesOf(node, again), had, 'it has the same addresses');
      await inPod(node, again, `busybox ping -c 1 -W 20 ${(await addressesOf(node, another))[0] ?? ''}`);
      await settles(t, 'masquerading is in force again', true, async () =>
        (await node.machine.attempt('nft list table inet holdfast')).stdout.includes('masquerade'),
      );
    });
  }
});
