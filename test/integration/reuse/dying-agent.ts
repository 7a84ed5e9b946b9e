// A process that hands a layer over and is killed at the failpoint that its environment names.
import { text } from 'node:stream/consumers';
import { pino } from 'pino';
import { z } from 'zod';
import { APP_IMAGE } from '../../../agent/cli/quickstart/images.ts';
import { containerId, podUid, sandboxId } from '../../../agent/model/ids.ts';
import { DEFAULT_POLICY } from '../../../agent/model/policy.ts';
import { openRuntime } from '../../../agent/runtime/containerd.ts';
import { openStore } from '../../../agent/state/open-store.ts';
import { failpointFromEnvironment } from '../../../lib/failpoint.ts';
import { openFeature } from './node.ts';

const orders = z.object({ uid: z.string(), namespace: z.string(), name: z.string(), orphan: z.string() });

const [socketPath = '', directory = ''] = process.argv.slice(2);
const { uid, namespace, name, orphan } = orders.parse(JSON.parse(await text(process.stdin)));
const signal = new AbortController().signal;
const { store } = await openStore({
  directory,
  onProblem: (error) => {
    throw error;
  },
});
const failpoint = failpointFromEnvironment(process.env);
const runtime = openRuntime({ endpoint: socketPath, logger: pino({ level: 'silent' }) });
const feature = await openFeature(runtime, store, failpoint === undefined ? {} : { failpoint });
const policy = { ...DEFAULT_POLICY, restart: 'reuse' as const };
await feature.containerCreated?.({
  pod: {
    uid: podUid(uid),
    namespace,
    name,
    labels: new Map(),
    annotations: new Map(),
    policy: { ...policy, containers: new Map() },
    cgroupParent: '',
    sandboxResources: { hugepages: new Map() },
  },
  sandboxId: sandboxId('unused'),
  containerId: containerId(orphan),
  name: 'app',
  attempt: 1,
  policy,
  need: { hugepages: new Map() },
  image: APP_IMAGE,
  signal,
});
throw new Error('the failpoint was not reached');
