// The writable layers that outlive their containers, as the machine's runtime tells.
import { create } from '@bufbuild/protobuf';
import { callUnary, connectUnix } from '../../../lib/grpc-client.ts';
import { Leases, ListRequestSchema } from '../../../proto/gen/wire/containerd/leases/v1/leases_pb.ts';
import type { Machine } from '../machine/machine.ts';

/** The IDs of the agent's leases, one for each kept layer. */
export async function leasesOf(machine: Machine): Promise<readonly string[]> {
  const client = connectUnix(machine.socket('/run/containerd/containerd.sock'));
  try {
    const request = create(ListRequestSchema, { filters: ['labels."holdfast.dev/pod-uid"'] });
    const options = { timeoutMs: 60_000, metadata: { 'containerd-namespace': 'k8s.io' } };
    return (await callUnary(client, Leases.method.list, request, options)).leases.map(({ id }) => id);
  } finally {
    client.close();
  }
}
