// What a runtime does when it is killed, has lost its records, is in a hurry, or is told to remove what it has not stopped.
import { chmod, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import t from 'tap';
import { callUnary, connectUnix } from '../../../lib/grpc-client.ts';
import { type Address, Admin, ListAddressesRequestSchema } from '../../../proto/gen/holdfast/admin/v1/admin_pb.ts';
import { NEEDS_ROOT, PATIENCE_MS, retrying, settles, until } from '../lifecycle/harness.ts';
import {
  addressesOf,
  assertAgree,
  type NetworkNode,
  networkPod,
  reaches,
  run,
  startNetworkNode,
  stopAndRemove,
} from './network-node.ts';

const SUBNET = `198.19.${process.pid % 256}`;
const NETWORK = {
  pools: { default: { subnets: [{ cidr: `${SUBNET}.0/24`, gateway: `${SUBNET}.1` }] } },
  cooldown: '0s',
  collectAfter: '5s',
};
const AT_ONCE = 30;

async function addresses({ agentSocket }: NetworkNode): Promise<readonly Address[]> {
  const client = connectUnix(agentSocket);
  try {
    const request = create(ListAddressesRequestSchema);
    return (await callUnary(client, Admin.method.listAddresses, request, { timeoutMs: PATIENCE_MS })).addresses;
  } finally {
    client.close();
  }
}

/** As many as sandboxes have them. */
async function heldCount(node: NetworkNode): Promise<number> {
  return (await addresses(node)).filter(({ state }) => state === 'held').length;
}

/** The next ADD is the last thing that the runtime hears: it dies when the plugin has its answer and has not told it. */
async function killAtNextAdd({ containerd: { directory } }: NetworkNode): Promise<void> {
  const executable = join(directory, 'cni', 'bin', 'holdfast');
  const [, command] = (await readFile(executable, 'utf8')).split('\n');
  if (command === undefined) throw new Error(`${executable} is not as it was expected`);
  const real = `${executable}-itself`;
  await rename(executable, real);
  const script = [
    '#!/bin/sh',
    `answer=$(${real}); status=$?`,
    `if [ "$CNI_COMMAND" = ADD ]; then mv -f ${real} ${executable}; kill -9 $PPID; fi`,
    'printf %s "$answer"; exit $status',
    '',
  ];
  await writeFile(executable, script.join('\n'));
  await chmod(executable, 0o755);
}

/** Paths of the namespaces that the runtime has made. */
async function namespaces({ containerd: { directory } }: NetworkNode): Promise<readonly string[]> {
  const all = await readdir(join(directory, 'state'), { recursive: true });
  return all.filter((path) => /netns\/cni-[^/]+$/.test(path)).map((path) => join(directory, 'state', path));
}

/** As the API server tells of a pod that somebody deleted and that has not ended yet. */
async function markDeleted({ containerd: { directory } }: NetworkNode, uid: string): Promise<void> {
  const path = join(directory, 'pods.json');
  const list = JSON.parse(await readFile(path, 'utf8')) as { readonly items: readonly { readonly metadata: object }[] };
  const items = list.items.map((item) => {
    const isDeleted = 'uid' in item.metadata && item.metadata.uid === uid;
    return isDeleted ? { ...item, metadata: { ...item.metadata, deletionTimestamp: '2026-01-01T00:00:00Z' } } : item;
  });
  await writeFile(`${path}.new`, JSON.stringify({ ...list, items }));
  await rename(`${path}.new`, path);
}

t.test('the runtime', { skip: NEEDS_ROOT }, async (t) => {
  const node = await startNetworkNode(t, { network: NETWORK });
  const { containerd } = node;

  await t.test('is killed between ADD and its own record, and later loses its records', async (t) => {
    const neighbour = await run(node, networkPod({}));
    const [before] = await namespaces(node);
    await killAtNextAdd(node);
    await t.rejects(run(node, networkPod({ 'holdfast.dev/ip': 'none' })), 'the runtime died');
    t.equal(await heldCount(node), 2, 'the address is held by a sandbox that nobody knows');
    const made = (await namespaces(node)).filter((path) => path !== before);
    t.equal(made.length, 1);
    await containerd.kill('SIGKILL');
    // Without them it lists no sandbox at all, and pods run on.
    const records = ['root/io.containerd.metadata.v1.bolt', 'state/io.containerd.runtime.v2.task'];
    const places = records.map((path) => join(containerd.directory, path));
    for (const path of places) await rename(path, `${path}.lost`);
    await containerd.start();
    t.strictSame(await node.direct.listPodSandboxes(), []);
    await settles(t, 'the address of the sandbox that never was is collected, that of the pod is not', 1, () =>
      heldCount(node),
    );
    t.ok((await stat(made[0] ?? '')).isFile(), 'although the namespace is there');
    await assertAgree(t, node, [neighbour]);
    t.ok(await reaches(neighbour, `${SUBNET}.1`), 'it is on the network as before');
    await containerd.kill('SIGKILL');
    for (const path of places) {
      await rm(path, { recursive: true, force: true });
      await rename(`${path}.lost`, path);
    }
    await containerd.start();
    await retrying('the pod to be removed', () => stopAndRemove(node, neighbour.sandboxId));
    await assertAgree(t, node, []);
  });

  await t.test(`starts ${AT_ONCE} pods at once, and removes them at once`, async (t) => {
    const pods = Array.from({ length: AT_ONCE }, () => networkPod({}));
    const running = await Promise.all(pods.map((pod) => retrying('the pod to run', () => run(node, pod))));
    const all = (await Promise.all(running.map(addressesOf))).flat();
    t.equal(new Set(all).size, AT_ONCE, 'each has an address of its own');
    await assertAgree(t, node, running);
    await Promise.all(running.map(({ sandboxId }) => retrying('removal', () => stopAndRemove(node, sandboxId))));
    await assertAgree(t, node, []);
  });

  await t.test('removes a sandbox that it was never told to stop', async (t) => {
    const [stays, goes] = [await run(node, networkPod({})), await run(node, networkPod({}))];
    await node.kubelet.removePodSandbox(goes.sandboxId);
    await assertAgree(t, node, [stays]);
    await stopAndRemove(node, stays.sandboxId);
    await assertAgree(t, node, []);
  });
});

t.test('ip-release: early', { skip: NEEDS_ROOT }, async (t) => {
  const early = { 'holdfast.dev/ip': 'app', 'holdfast.dev/app': 'web', 'holdfast.dev/ip-release': 'early' };
  // As a program that takes its time to end.
  const waits = ['/bin/sh', '-c', 'trap "" TERM; while :; do sleep 1; done'];
  const described = networkPod(early);
  const pod = { ...described, containers: described.containers.map((each) => ({ ...each, command: waits })) };
  const [successor, neighbour] = [networkPod(early), networkPod({})];
  const node = await startNetworkNode(t, { network: NETWORK, pods: [pod, successor, neighbour] });
  const [first, beside] = [await run(node, pod), await run(node, neighbour)];
  const [address = ''] = await addressesOf(first);
  t.ok(await reaches(beside, address));
  await markDeleted(node, pod.uid);
  // Read again at the start: from then on the agent knows that the pod is being deleted.
  await node.restartAgent();
  t.equal(await heldCount(node), 2, 'the platform’s word alone takes nothing');
  const stopping = node.kubelet.stopContainer(first.containerId, 60);
  stopping.catch(() => t.comment('the stop failed'));
  await until('the address to be in the reserve', async () =>
    (await addresses(node)).some(({ state, address: each }) => state === 'reserved' && address.startsWith(`${each}/`)),
  );
  t.doesNotThrow(() => process.kill(first.processId, 0), 'while the process still runs');
  t.notOk(await reaches(first, `${SUBNET}.1`), 'and is off the network');
  const next = await run(node, successor);
  t.strictSame(await addressesOf(next), [address]);
  t.ok(await reaches(beside, address), 'the successor is reached');
  t.doesNotThrow(() => process.kill(first.processId, 0), 'the predecessor is there all the time');
  await assertAgree(t, node, [next, beside]);
  process.kill(first.processId, 'SIGKILL');
  await stopping;
  await stopAndRemove(node, first.sandboxId);
  await assertAgree(t, node, [next, beside]);
  t.ok(await reaches(beside, address), 'the late removal took nothing from it');
  for (const { sandboxId } of [next, beside]) await stopAndRemove(node, sandboxId);
  await assertAgree(t, node, []);
});
