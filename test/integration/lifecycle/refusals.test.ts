// What is refused, with a status and words that a user of `kubectl describe pod` can act on.
import { availableParallelism } from 'node:os';
import { status } from '@grpc/grpc-js';
import t from 'tap';
import type { PodDescription } from '../../../agent/cli/quickstart/pod-requests.ts';
import { bytes, milliCpu } from '../../../agent/model/quantity.ts';
import { remainsOf } from './facts.ts';
import { NEEDS_ROOT, settles, startNode } from './harness.ts';
import { somePod } from './pods.ts';

const CPUS = availableParallelism();
const exclusive = { 'holdfast.dev/cpuset': 'exclusive' };

interface Refusal {
  readonly pod: PodDescription;
  readonly code: status;
  readonly message: RegExp;
}

const REFUSALS: Readonly<Record<string, Refusal>> = {
  'as many exclusive CPUs as the host has': {
    pod: somePod(exclusive, { cpuLimit: milliCpu(CPUS * 1000) }),
    code: status.RESOURCE_EXHAUSTED,
    message: new RegExp(`pod default/pod-\\d+: .*${CPUS} .*CPUs`),
  },
  'more memory of one node than any has': {
    pod: somePod({ 'holdfast.dev/numa': 'required' }, { cpuLimit: milliCpu(100), memoryLimit: bytes(2 ** 50) }),
    code: status.RESOURCE_EXHAUSTED,
    message: /pod default\/pod-\d+: .*memory/,
  },
  'half a CPU to own': {
    pod: somePod(exclusive, { cpuLimit: milliCpu(1500) }),
    code: status.INVALID_ARGUMENT,
    message: /whole CPUs.*its CPU limit is 1\.5;.*holdfast\.dev\/cpuset/,
  },
  'a value that does not exist': {
    pod: somePod({ 'holdfast.dev/restart': 'always' }),
    code: status.INVALID_ARGUMENT,
    message: /annotation holdfast\.dev\/restart is "always".*"rebuild", "reuse"/,
  },
  'what its namespace is denied': {
    pod: somePod({ 'holdfast.dev/restart': 'reuse' }, {}, { namespace: 'guests' }),
    code: status.PERMISSION_DENIED,
    message: /namespace guests may not have restart "reuse".*policy\.namespaces\.guests\.deny/,
  },
};

t.test('refusals', { skip: NEEDS_ROOT }, async (t) => {
  const node = await startNode(t, { config: { policy: { namespaces: { guests: { deny: ['reuse'] } } } } });
  const before = await remainsOf(node);
  for (const [name, { pod, code, message }] of Object.entries(REFUSALS)) {
    await t.test(name, async (t) => {
      await t.rejects(node.kubelet.makePod(pod), { code, details: message });
      for (const { id } of await node.kubelet.listPodSandboxes(pod.uid)) await node.kubelet.removePodSandbox(id);
      await settles(t, 'nothing is left', before, () => remainsOf(node));
    });
  }
});
