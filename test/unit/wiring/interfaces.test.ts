// What the agent says of the interfaces of others, by its configuration; nothing is asked and nothing written before start.
import { create } from '@bufbuild/protobuf';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import t from 'tap';
import { createTopologyView } from '../../../agent/api/topology-view.ts';
import { agentConfigSchema } from '../../../agent/config/schema.ts';
import { buildInterfaces } from '../../../agent/wiring/interfaces.ts';
import { Changes } from '../../../lib/changes.ts';
import { HoldfastError } from '../../../lib/errors.ts';
import {
  AllocatableResourcesRequestSchema,
  ListPodResourcesRequestSchema,
} from '../../../proto/gen/wire/podresources/v1/podresources_pb.ts';
import { evenHost } from '../../support/hand-made-hosts.ts';

const KUBECONFIG = '/nowhere/kubeconfig';

function build(settings: Readonly<Record<string, unknown>>, requireKnown: () => void = () => undefined) {
  const config = agentConfigSchema.parse({ apiVersion: 'holdfast.dev/v1', kind: 'AgentConfig', ...settings });
  const changes = new Changes();
  const view = createTopologyView({ nodeName: 'n', topology: evenHost(1, 2, 1), placing: undefined, changes });
  const logger = pino({ level: 'silent' });
  const own = { view, requireKnown, changes };
  return buildInterfaces({ config, ...own, metrics: new Registry(), logger });
}

async function linesOf(settings: Readonly<Record<string, unknown>>) {
  const interfaces = build(settings);
  const lines = interfaces.status();
  await interfaces.close();
  return lines;
}

t.test('by default there is podresources, and no object', async (t) => {
  const lines = await linesOf({});
  t.match(lines, [
    { subject: 'pod resources', level: 'ok', text: /devices from \/var\/lib\/kubelet\/pod-resources\/kubelet\.sock/ },
  ]);
  t.equal(lines.length, 1);
});

t.test("the kubelet's socket is looked for below the host's root", async (t) => {
  t.match(await linesOf({ paths: { hostRoot: '/copy' } }), [{ text: /devices from \/copy\/var\/lib\/kubelet/ }]);
  t.match(await linesOf({ podResources: { kubelet: 'off' } }), [{ level: 'ok', text: /the kubelet is not asked/ }]);
});

t.test('an object that is wanted has a line', async (t) => {
  t.match(await linesOf({ nodeResourceTopology: { kubeconfig: KUBECONFIG } }), [
    {},
    { subject: 'node resource topology', level: 'ok', text: /not begun/ },
  ]);
});

t.test('where nothing is placed there is nothing to say, and that is said', async (t) => {
  const lines = await linesOf({ cpuset: { enabled: false }, nodeResourceTopology: { kubeconfig: KUBECONFIG } });
  t.match(lines, [{}, { level: 'warning', text: /cpuset\.enabled is false/ }]);
});

t.test('before the agent knows what pods hold it does not say that all is free', async (t) => {
  let isKnown = false;
  const interfaces = build({ podResources: { kubelet: 'off' } }, () => {
    if (!isKnown) throw new HoldfastError('UNAVAILABLE', 'not yet');
  });
  const { list, getAllocatableResources } = interfaces.podResources;
  const context = { signal: new AbortController().signal };
  await t.rejects(list(create(ListPodResourcesRequestSchema), context), { code: 'UNAVAILABLE' });
  await t.rejects(getAllocatableResources(create(AllocatableResourcesRequestSchema), context), { code: 'UNAVAILABLE' });
  isKnown = true;
  t.match(await getAllocatableResources(create(AllocatableResourcesRequestSchema), context), { cpuIds: [0n, 1n] });
  await interfaces.close();
});
