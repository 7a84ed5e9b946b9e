// The agent dies between any two steps of joining a pod to the network and of taking it off: nothing is lost, nothing is
// anybody's twice, nothing stays behind.
import t from 'tap';
import { failpointsBelow } from '../lifecycle/agent-killed.ts';
import { NEEDS_ROOT, retrying, until } from '../lifecycle/harness.ts';
import {
  addressesOf,
  assertAgree,
  type NetworkNode,
  networkPod,
  run,
  startNetworkNode,
  stopAndRemove,
} from './network-node.ts';

const SUBNET = `198.19.${process.pid % 256}`;
const NETWORK = {
  pools: { default: { subnets: [{ cidr: `${SUBNET}.0/29`, gateway: `${SUBNET}.1` }] } },
  cooldown: '0s',
  collectAfter: '1s',
};

async function agentDies({ agent }: NetworkNode): Promise<void> {
  await until('the agent to die', async () => agent.pid() === undefined);
}

t.test('the agent is killed', { skip: NEEDS_ROOT }, async (t) => {
  const node = await startNetworkNode(t, { network: NETWORK });
  const points = await failpointsBelow('network');
  t.equal(points.length, 4, 'the points are found');
  const neighbour = await run(node, networkPod({}));
  for (const point of points) {
    await t.test(point, async (t) => {
      const pod = networkPod({ 'holdfast.dev/ip': 'keep' }, { name: 'db-0' });
      const before = point.includes('.del.') ? await run(node, pod) : undefined;
      const addresses = before && (await addressesOf(before));
      await node.arm(point);
      const step = async (): Promise<void> => {
        if (before === undefined) await run(node, pod);
        else await node.kubelet.stopPodSandbox(before.sandboxId);
      };
      const failed = t.rejects(step(), 'the runtime is told');
      await agentDies(node);
      await failed;
      await node.disarm();
      await node.agent.start();
      const after = await retrying('the pod to run again', () => run(node, pod));
      if (addresses !== undefined) t.strictSame(await addressesOf(after), addresses, 'it has what it had');
      if (before !== undefined) await stopAndRemove(node, before.sandboxId);
      await assertAgree(t, node, [neighbour, after]);
      await stopAndRemove(node, after.sandboxId);
      await assertAgree(t, node, [neighbour]);
    });
  }
});
