import { create } from '@bufbuild/protobuf';
import t from 'tap';
import {
  readContainer,
  readContainerStatus,
  readSandbox,
  readState,
  readVerbosePid,
} from '../../../agent/runtime/cri-messages.ts';
import {
  ContainerSchema,
  ContainerState,
  ContainerStatusSchema,
  PodSandboxSchema,
  PodSandboxState,
} from '../../../proto/gen/wire/cri/v1/cri_pb.ts';

t.test('a container of a kubelet', async (t) => {
  const container = create(ContainerSchema, {
    id: 'c',
    podSandboxId: 's',
    metadata: { name: 'app', attempt: 3 },
    image: { image: 'sha256:abc' },
    state: ContainerState.CONTAINER_EXITED,
    createdAt: 1_700_000_000_123_456_789n,
    labels: {
      'io.kubernetes.pod.uid': 'uid',
      'io.kubernetes.pod.namespace': 'ns',
      'io.kubernetes.pod.name': 'pod',
    },
    annotations: { a: 'b' },
  });
  t.strictSame(readContainer(container), {
    id: 'c',
    sandboxId: 's',
    podUid: 'uid',
    podNamespace: 'ns',
    podName: 'pod',
    name: 'app',
    attempt: 3,
    state: 'exited',
    createdAt: 1_700_000_000_123,
    image: 'sha256:abc',
    labels: container.labels,
    annotations: { a: 'b' },
  });
});

t.test('a container of somebody else has no pod', async (t) => {
  t.match(readContainer(create(ContainerSchema, { id: 'c' })), { podUid: '', name: '', attempt: 0, state: 'created' });
});

t.test('times that have not come are 0', async (t) => {
  const status = create(ContainerStatusSchema, { id: 'c', startedAt: 5_000_000n, exitCode: 3 });
  t.match(readContainerStatus(status, 's'), { sandboxId: 's', startedAt: 5, finishedAt: 0, exitCode: 3 });
});

t.test('sandboxes', async (t) => {
  const sandbox = create(PodSandboxSchema, {
    id: 's',
    metadata: { name: 'pod', namespace: 'ns', uid: 'uid', attempt: 1 },
    state: PodSandboxState.SANDBOX_NOTREADY,
  });
  t.match(readSandbox(sandbox), { id: 's', podUid: 'uid', podName: 'pod', attempt: 1, ready: false });
});

t.test('a state of a newer CRI is unknown', async (t) => {
  t.equal(readState(99 as ContainerState), 'unknown');
});

t.test('the process in a verbose status', async (t) => {
  t.equal(readVerbosePid({ info: '{"pid":42,"sandboxID":"s"}' }), 42);
  for (const info of ['{"pid":0}', '{"pid":"42"}', '{}', 'null', 'free text', '{"pid":-1}', '{"pid":1.5}']) {
    t.equal(readVerbosePid({ info }), undefined, info);
  }
  t.equal(readVerbosePid({}), undefined);
});
