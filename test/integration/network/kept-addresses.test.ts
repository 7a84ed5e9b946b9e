// Pods keep their addresses, on a real runtime with the real plugin: over restarts of everything that can be restarted.
import { rm } from 'node:fs/promises';
import t from 'tap';
import { NEEDS_ROOT } from '../lifecycle/harness.ts';
import {
  addressesOf,
  assertAgree,
  holdfast,
  networkPod,
  reaches,
  run,
  startNetworkNode,
  stopAndRemove,
} from './network-node.ts';

const SUBNET = `198.19.${process.pid % 256}`;
const SUBNET6 = `fd00:19:${(1 + (process.pid % 65_535)).toString(16)}:`;
const NETWORK = {
  pools: {
    default: {
      subnets: [
        { cidr: `${SUBNET}.0/24`, gateway: `${SUBNET}.1` },
        { cidr: `${SUBNET6}:/64`, gateway: `${SUBNET6}:1` },
      ],
    },
  },
  cooldown: '0s',
  collectAfter: '1s',
};

t.test('addresses of pods', { skip: NEEDS_ROOT }, async (t) => {
  const node = await startNetworkNode(t, { network: NETWORK });

  await t.test('a pod has one of each family, reaches its gateway and its neighbour', async (t) => {
    const [one, other] = [await run(node, networkPod({})), await run(node, networkPod({}))];
    const [first, second] = [await addressesOf(one), await addressesOf(other)];
    t.match(first[0] ?? '', new RegExp(`^${SUBNET.replaceAll('.', '\\.')}\\.\\d+/24$`));
    t.match(first[1] ?? '', new RegExp(`^${SUBNET6}:[0-9a-f]+/64$`));
    t.notSame(first, second);
    for (const address of [`${SUBNET}.1`, `${SUBNET6}:1`, ...second]) t.ok(await reaches(one, address), address);
    await assertAgree(t, node, [one, other]);
    for (const { sandboxId } of [one, other]) await stopAndRemove(node, sandboxId);
    await assertAgree(t, node, []);
  });

  await t.test('ip: keep has the same after its sandbox, its agent and its pod were made anew', async (t) => {
    const pod = networkPod({ 'holdfast.dev/ip': 'keep' }, { name: 'db-0' });
    const first = await run(node, pod);
    const addresses = await addressesOf(first);
    await node.kubelet.stopPodSandbox(first.sandboxId);
    const stranger = await run(node, networkPod({}));
    t.notOk((await addressesOf(stranger)).some((each) => addresses.includes(each)));
    const second = await run(node, pod);
    t.strictSame(await addressesOf(second), addresses, 'in its next sandbox');
    await node.restartAgent();
    await stopAndRemove(node, first.sandboxId);
    t.ok(await reaches(stranger, addresses[0] ?? ''), 'the removal of the old sandbox took nothing from the new one');
    await stopAndRemove(node, second.sandboxId);
    const again = await run(node, networkPod({ 'holdfast.dev/ip': 'keep' }, { name: 'db-0' }));
    t.strictSame(await addressesOf(again), addresses, 'with another UID');
    t.ok(await reaches(stranger, addresses[0] ?? ''));
    await assertAgree(t, node, [stranger, again]);
    for (const { sandboxId } of [stranger, again]) await stopAndRemove(node, sandboxId);
    await assertAgree(t, node, []);
  });

  await t.test('ip: app draws from the reserve of the app', async (t) => {
    const app = { 'holdfast.dev/ip': 'app', 'holdfast.dev/app': 'web' };
    const first = await run(node, networkPod(app));
    const addresses = await addressesOf(first);
    await stopAndRemove(node, first.sandboxId);
    const other = await run(node, networkPod({ ...app, 'holdfast.dev/app': 'api' }));
    t.notOk((await addressesOf(other)).some((each) => addresses.includes(each)));
    const byLabel = { 'app.kubernetes.io/name': 'web' };
    const next = await run(node, networkPod({ 'holdfast.dev/ip': 'app' }, { labels: byLabel }));
    t.strictSame(await addressesOf(next), addresses, 'the label tells the app, too');
    for (const { sandboxId } of [other, next]) await stopAndRemove(node, sandboxId);
  });

  await t.test('while the agent is away nobody gets an address, and nothing is lost', async (t) => {
    await node.agent.kill('SIGKILL');
    const pod = networkPod({});
    await t.rejects(run(node, pod), /UNAVAILABLE|try again/);
    await node.agent.start();
    const running = await run(node, pod);
    t.equal((await addressesOf(running)).length, 2);
    await stopAndRemove(node, running.sandboxId);
  });

  await t.test(
    'after the loss of the whole state no running pod is cut off, and nobody gets its address',
    async (t) => {
      const running = await run(node, networkPod({}));
      const addresses = await addressesOf(running);
      await node.restartAgent(() => rm(node.stateDirectory, { recursive: true, force: true }));
      const others = [await run(node, networkPod({})), await run(node, networkPod({}))];
      for (const other of others) t.notOk((await addressesOf(other)).some((each) => addresses.includes(each)));
      for (const address of addresses) t.ok(await reaches(others[0] ?? running, address), address);
      for (const { sandboxId } of [running, ...others]) await stopAndRemove(node, sandboxId);
      await assertAgree(t, node, []);
    },
  );

  await t.test('holdfast ip shows who has what, and changes it', async (t) => {
    const running = await run(node, networkPod({ 'holdfast.dev/ip': 'keep' }, { name: 'shown' }));
    const [own = ''] = (await addressesOf(running)).map((each) => each.replace(/\/.*/, ''));
    const rowOf = async (address: string): Promise<string> =>
      (await holdfast(node, 'ip', 'ls')).split('\n').find((line) => line.startsWith(`${address} `)) ?? '';
    t.match(await rowOf(own), / default +held +default +shown /);
    await t.rejects(holdfast(node, 'ip', 'release', own), /has it|has 198/, 'not while a sandbox has it');
    await stopAndRemove(node, running.sandboxId);
    t.match(await rowOf(own), / kept +default +shown /);
    t.match(await holdfast(node, 'ip', 'release', own), /is free/);
    t.equal(await rowOf(own), '');
    const [reserved = ''] = (await holdfast(node, 'ip', 'reserve', 'later')).split('\n');
    t.match(await rowOf(reserved), / reserved +default +- +later /);
    t.match(await holdfast(node, 'ip', 'pools'), new RegExp(`${SUBNET.replaceAll('.', '\\.')}\\.0/24 +253 `));
    t.match(await holdfast(node, 'ip', 'audit'), new RegExp(`${own} +default +kept +default +shown`));
  });

  await t.test('a wrong annotation is refused where the kubelet shows it', async (t) => {
    await t.rejects(run(node, networkPod({ 'holdfast.dev/ip': 'mine' })), /holdfast\.dev\/ip is "mine"/);
  });
});
