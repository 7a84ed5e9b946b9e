// Rolling updates of an app that has as many addresses as pods, or one more: its new pods get the addresses of its old ones,
// and none waits for ever.
import { randomUUID } from 'node:crypto';
import t, { type Test } from 'tap';
import { NEEDS_ROOT } from '../lifecycle/harness.ts';
import {
  addressesIn,
  assertNothingLeft,
  type DirectNode,
  makeSandbox,
  removeAtEnd,
  type Sandbox,
  startDirectNode,
} from './direct-node.ts';

const OCTET = process.pid % 256;
const BRIDGE = `hfr${process.pid}`;
const subnetOf = (last: string) => [
  { cidr: `198.19.${OCTET}.0/24`, ranges: [`198.19.${OCTET}.10-198.19.${OCTET}.${last}`] },
];

t.setTimeout(180_000);

interface App {
  readonly node: DirectNode;
  readonly start: (t: Test) => Promise<Sandbox>;
  readonly stop: (t: Test, sandbox: Sandbox) => Promise<void>;
  /** The code of the refusal, where there was one. */
  readonly tryToStart: (t: Test) => Promise<number | undefined>;
}

async function startApp(t: Test, last: string): Promise<App> {
  const node = await startDirectNode(t, { cooldown: '1h', pools: { app: { subnets: subnetOf(last) } } });
  const [plugin] = node.plugins;
  if (plugin === undefined) throw new Error('there is no plugin');
  const config = {
    cniVersion: '1.0.0',
    name: 'rolling',
    type: 'holdfast',
    bridge: BRIDGE,
    runtimeConfig: {
      'io.kubernetes.cri.pod-annotations': { 'holdfast.dev/ip': 'app', 'holdfast.dev/app': 'web' },
    },
  };
  const call = async (t: Test, command: string, { containerId, netns }: Sandbox) => {
    const args = `K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-${containerId};K8S_POD_UID=${randomUUID()}`;
    return await node.call(t, plugin, { command, containerId, ifname: 'eth0', netns, args, config });
  };
  return {
    node,
    start: async (t) => {
      const sandbox = await makeSandbox(t);
      const { exitStatus, stdout } = await call(t, 'ADD', sandbox);
      if (exitStatus !== 0) throw new Error(stdout);
      return sandbox;
    },
    stop: async (t, sandbox) => {
      const { exitStatus, stdout } = await call(t, 'DEL', sandbox);
      if (exitStatus !== 0) throw new Error(stdout);
    },
    tryToStart: async (t) => {
      const sandbox = await makeSandbox(t);
      const { printed } = await call(t, 'ADD', sandbox);
      // As runtimes do after a failure.
      await call(t, 'DEL', sandbox);
      return printed.code;
    },
  };
}

async function addressesOf(sandboxes: readonly Sandbox[]): Promise<readonly string[]> {
  return (await Promise.all(sandboxes.map((each) => addressesIn(each, 'eth0')))).flat().toSorted();
}

async function end(t: Test, { node, stop }: App, pods: readonly Sandbox[]): Promise<void> {
  for (const pod of pods) await stop(t, pod);
  await assertNothingLeft(
    t,
    node,
    pods.map((sandbox) => ({ network: 'rolling', sandbox })),
  );
}

t.test('an app of three pods and a pool of three addresses', { skip: NEEDS_ROOT }, async (t) => {
  removeAtEnd(t, BRIDGE);
  const app = await startApp(t, '12');
  let pods = [await app.start(t), await app.start(t), await app.start(t)];
  const before = await addressesOf(pods);
  t.equal(before.length, 3);
  t.equal(await app.tryToStart(t), 50, 'a fourth is refused: exhausted');
  t.strictSame(await addressesOf(pods), before, 'and takes nothing from the others');
  for (const old of pods) {
    await app.stop(t, old);
    pods = [...pods.filter((each) => each !== old), await app.start(t)];
    t.strictSame(await addressesOf(pods), before, 'the new pod has what the old one had');
  }
  await end(t, app, pods);
});

t.test('an app of three pods, one more at a time, and a pool of four addresses', { skip: NEEDS_ROOT }, async (t) => {
  removeAtEnd(t, BRIDGE);
  const app = await startApp(t, '13');
  let pods = [await app.start(t), await app.start(t), await app.start(t)];
  const all = new Set(await addressesOf(pods));
  for (const old of pods) {
    const next = await app.start(t);
    await app.stop(t, old);
    pods = [...pods.filter((each) => each !== old), next];
    for (const address of await addressesOf(pods)) all.add(address);
  }
  t.equal(all.size, 4);
  await end(t, app, pods);
});
