import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import fc from 'fast-check';
import t from 'tap';
import { adjustContainer, adjustSandbox, adjustUpdate } from '../../../../cri-shim/steps/adjust.ts';
import { AdjustmentSchema } from '../../../../proto/gen/holdfast/lifecycle/v1/lifecycle_pb.ts';
import {
  ContainerConfigSchema,
  CreateContainerRequestSchema,
  LinuxContainerResourcesSchema,
  PodSandboxConfigSchema,
  RunPodSandboxRequestSchema,
  UpdateContainerResourcesRequestSchema,
} from '../../../../proto/gen/wire/cri/v1/cri_pb.ts';

/** Bytes of a message with a field that our declarations do not have, put before and after the known bytes. */
function withUnknown(bytes: Uint8Array, number: number, text: string): Uint8Array {
  const field = new BinaryWriter().tag(number, WireType.LengthDelimited).string(text).finish();
  return Buffer.concat([field, bytes, field]);
}

/** field `number` with the given bytes: a message inside a message. */
function nested(number: number, bytes: Uint8Array): Uint8Array {
  return new BinaryWriter().tag(number, WireType.LengthDelimited).bytes(bytes).finish();
}

/** A CreateContainerRequest with unknown fields in the request, the config, its linux part and its resources. */
function createRequestWithUnknowns() {
  const resources = toBinary(
    LinuxContainerResourcesSchema,
    create(LinuxContainerResourcesSchema, { cpuShares: 512n, cpuQuota: 50_000n, cpusetCpus: '0-1' }),
  );
  const linux = withUnknown(nested(1, withUnknown(resources, 777, 'in resources')), 778, 'in linux');
  const known = toBinary(
    ContainerConfigSchema,
    create(ContainerConfigSchema, { metadata: { name: 'web', attempt: 3 }, annotations: { a: '1' } }),
  );
  const config = withUnknown(Buffer.concat([known, nested(15, linux)]), 779, 'in config');
  const bytes = withUnknown(nested(2, config), 780, 'in request');
  return fromBinary(CreateContainerRequestSchema, bytes);
}

t.test('a container gets its CPUs and annotations, and keeps every unknown field', async (t) => {
  const request = createRequestWithUnknowns();
  const before = toBinary(CreateContainerRequestSchema, request);
  const wanted = create(AdjustmentSchema, {
    cpusetCpus: '4-5',
    cpusetMems: '1',
    cpuQuota: -1n,
    annotations: { b: '2' },
  });
  const adjusted = adjustContainer(request, wanted);
  t.ok(adjusted);
  if (adjusted === undefined) return;
  t.match(adjusted.config?.linux?.resources, { cpusetCpus: '4-5', cpusetMems: '1', cpuQuota: -1n, cpuShares: 512n });
  t.same({ ...adjusted.config?.annotations }, { a: '1', b: '2' });
  const wire = Buffer.from(toBinary(CreateContainerRequestSchema, adjusted)).toString('latin1');
  for (const text of ['in resources', 'in linux', 'in config', 'in request']) {
    t.equal(wire.split(text).length - 1, 2, `both fields ${text} are there`);
  }
  t.same(toBinary(CreateContainerRequestSchema, request), before, 'the request itself is as it was');
});

t.test('whatever the adjustment, taking it back gives the request as it was', async (t) => {
  const original = createRequestWithUnknowns();
  const cpus = fc.option(fc.constantFrom('', '0', '0-3', '0-1'), { nil: undefined });
  fc.assert(
    fc.property(
      cpus,
      cpus,
      fc.option(fc.bigInt(-1n, 200_000n), { nil: undefined }),
      (cpusetCpus, cpusetMems, cpuQuota) => {
        const wanted = create(AdjustmentSchema, {
          ...(cpusetCpus === undefined ? {} : { cpusetCpus }),
          ...(cpusetMems === undefined ? {} : { cpusetMems }),
          ...(cpuQuota === undefined ? {} : { cpuQuota }),
        });
        const adjusted = adjustContainer(original, wanted) ?? original;
        const back = create(AdjustmentSchema, { cpusetCpus: '0-1', cpusetMems: '', cpuQuota: 50_000n });
        const restored = adjustContainer(adjusted, back) ?? adjusted;
        return (
          Buffer.compare(
            toBinary(CreateContainerRequestSchema, restored),
            toBinary(CreateContainerRequestSchema, original),
          ) === 0
        );
      },
    ),
  );
  t.pass('property holds');
});

t.test('parts that are missing are made', async (t) => {
  const request = create(CreateContainerRequestSchema, { config: { metadata: { name: 'web' } } });
  const adjusted = adjustContainer(request, create(AdjustmentSchema, { cpusetCpus: '1' }));
  t.equal(adjusted?.config?.linux?.resources?.cpusetCpus, '1');
  const update = create(UpdateContainerResourcesRequestSchema, { containerId: 'c' });
  const adjustedUpdate = adjustUpdate(update, create(AdjustmentSchema, { cpusetMems: '0', annotations: { k: 'v' } }));
  t.equal(adjustedUpdate?.linux?.cpusetMems, '0');
  t.same({ ...adjustedUpdate?.annotations }, { k: 'v' });
});

t.test('nothing to change is nothing changed', async (t) => {
  const request = createRequestWithUnknowns();
  const same = create(AdjustmentSchema, { cpusetCpus: '0-1', cpuQuota: 50_000n, annotations: { a: '1' } });
  t.equal(adjustContainer(request, undefined), undefined);
  t.equal(adjustContainer(request, create(AdjustmentSchema)), undefined);
  t.equal(adjustContainer(request, same), undefined, 'values that are there already');
  t.equal(adjustContainer(create(CreateContainerRequestSchema), same), undefined, 'no config: the runtime refuses it');
  t.equal(adjustUpdate(create(UpdateContainerResourcesRequestSchema), create(AdjustmentSchema)), undefined);
  t.equal(adjustUpdate(create(UpdateContainerResourcesRequestSchema), undefined), undefined);
  t.equal(adjustSandbox(create(RunPodSandboxRequestSchema), same), undefined);
});

t.test('a sandbox gets annotations', async (t) => {
  const config = create(PodSandboxConfigSchema, { annotations: { a: '1', b: '1' }, hostname: 'h' });
  const request = create(RunPodSandboxRequestSchema, { config, runtimeHandler: 'runc' });
  const adjusted = adjustSandbox(request, create(AdjustmentSchema, { annotations: { b: '2', c: '3' } }));
  t.same({ ...adjusted?.config?.annotations }, { a: '1', b: '2', c: '3' });
  t.match(adjusted, { runtimeHandler: 'runc', config: { hostname: 'h' } });
});
