// Edits the OCI runtime spec in containerd's metadata; what it says when the container starts is what runc gets.
import { create } from '@bufbuild/protobuf';
import { HoldfastError } from '../../lib/errors.ts';
import {
  ContainerSchema,
  Containers,
  GetContainerRequestSchema,
  UpdateContainerRequestSchema,
} from '../../proto/gen/wire/containerd/containers/v1/containers_pb.ts';
import type { ContainerdCall } from './containerd-api.ts';
import { readSpecJson } from './oci-spec-json.ts';
import type { SpecStore } from './runtime.ts';

export function createSpecStore(call: ContainerdCall): SpecStore {
  return {
    edit: async (id, edit, signal) => {
      const { container } = await call(Containers.method.get, create(GetContainerRequestSchema, { id }), signal);
      if (container?.spec === undefined) {
        throw new HoldfastError('HOST_FAILURE', `containerd has no runtime spec for container ${id}`);
      }
      const { spec, write } = readSpecJson(container.spec.value);
      const edited = edit(spec);
      if (edited === undefined) return false;
      const request = create(UpdateContainerRequestSchema, {
        container: create(ContainerSchema, {
          id,
          spec: { typeUrl: container.spec.typeUrl, value: write(edited) },
        }),
        updateMask: { paths: ['spec'] },
      });
      await call(Containers.method.update, request, signal);
      return true;
    },
  };
}
