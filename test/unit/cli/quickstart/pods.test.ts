import t from 'tap';
import { allowedList } from '../../../../agent/cli/quickstart/observe.ts';
import { podManifests } from '../../../../agent/cli/quickstart/pod-manifests.ts';
import { quickstartPods } from '../../../../agent/cli/quickstart/pods.ts';
import { createReport } from '../../../../agent/cli/quickstart/report.ts';
import { parsePodManifests } from '../../../../agent/cluster/pod-manifest.ts';
import { parsePodPolicy } from '../../../../agent/model/annotations.ts';
import { DEFAULT_POLICY } from '../../../../agent/model/policy.ts';

t.test('a host with one CPU gives none away, a large one whole cores', async (t) => {
  t.strictSame(
    [1, 2, 3, 4, 64].map((cpus) => quickstartPods(cpus).exclusiveCpus),
    [0, 1, 2, 2, 2],
  );
  t.notOk(quickstartPods(1).web.annotations?.['holdfast.dev/cpuset']);
});

t.test('the pods ask for what the tour shows', async (t) => {
  const { web, neighbour, greedy } = quickstartPods(2);
  const policyOf = (annotations = {}): object => parsePodPolicy(annotations, DEFAULT_POLICY);
  t.match(policyOf(web.annotations), { restart: 'reuse', numa: 'required', cpuset: 'exclusive' });
  t.match(policyOf(neighbour.annotations), DEFAULT_POLICY);
  t.match(policyOf(greedy.annotations), { cpuset: 'exclusive' });
  t.equal(greedy.containers[0]?.cpuLimit, 2000);
});

t.test('the agent reads the same pods from the manifests', async (t) => {
  const { web, neighbour } = quickstartPods(2);
  const init = { name: 'setup', image: 'i' };
  const { pods, complete } = parsePodManifests(podManifests([{ ...web, initContainers: [init] }, neighbour]));
  t.equal(complete, true);
  t.match(pods, [
    {
      uid: web.uid,
      namespace: 'default',
      name: 'web-0',
      containers: [
        { name: 'setup', kind: 'init' },
        { name: 'app', kind: 'app', cpuRequest: 1000, cpuLimit: 1000, memoryLimit: 64 * 1024 * 1024 },
      ],
    },
    { uid: neighbour.uid, containers: [{ name: 'app', cpuRequest: 100 }] },
  ]);
  t.equal(pods[0]?.annotations.get('holdfast.dev/restart'), 'reuse');
  t.equal(pods[1]?.containers[0]?.cpuLimit, undefined);
});

t.test('lists are read from a status file, whatever stands around them', async (t) => {
  const status = 'Name:\tx\nCpus_allowed:\t3\nCpus_allowed_list:\t0-1,4\nMems_allowed_list:\t0\n';
  t.equal(allowedList(status, 'Cpus_allowed_list').toString(), '0-1,4');
  t.equal(allowedList(status, 'Mems_allowed_list').toString(), '0');
  t.ok(allowedList('Name:\tx\n', 'Mems_allowed_list').isEmpty, 'a kernel without cpusets has no such line');
});

t.test('a claim that does not hold is printed, and ends the tour', async (t) => {
  let printed = '';
  const report = createReport({ write: (text) => (printed += text), colour: false });
  report.step('First');
  report.claim(true, 'it works', 'yes');
  t.throws(() => report.claim(false, 'it works', 'no'), { code: 'PRECONDITION', message: /it works: no$/ });
  report.step('Second');
  report.block('a\n\nb\n');
  t.equal(printed, '\n1. First\n   ✓ it works: yes\n   ✗ it works: no\n\n2. Second\n   a\n\n   b\n');
});
