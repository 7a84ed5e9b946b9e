// What doctor says about where Holdfast learns of pods.
import t from 'tap';
import { checkPodSource } from '../../../../agent/cli/doctor-checks/pod-source.ts';

const KUBECONFIG = '/etc/kubernetes/kubelet.conf';
const facts = { nodeName: 'n', api: undefined, kubeletKubeconfig: undefined };

t.test('a host without a cluster is well without an API server', async (t) => {
  t.match(checkPodSource(facts), [{ level: 'ok', text: /no kubelet here knows one/ }]);
});

t.test("where the kubelet knows an API server, using it is suggested; the kubelet's file is named", async (t) => {
  t.match(checkPodSource({ ...facts, kubeletKubeconfig: KUBECONFIG }), [
    {
      level: 'warning',
      text: /no API server is asked/,
      remedy: /podSource\.api: kubelet .*\/etc\/kubernetes\/kubelet\.conf/,
    },
  ]);
});

t.test('an API server that answers', async (t) => {
  const server = 'https://api.test';
  const kubeletKubeconfig = KUBECONFIG;
  t.match(checkPodSource({ ...facts, kubeletKubeconfig, api: { value: { server, pods: 3 } } }), [
    { level: 'ok', text: 'https://api.test names pods of node n: 3', remedy: undefined },
  ]);
  t.match(checkPodSource({ ...facts, api: { value: { server, pods: 0 } } }), [
    { level: 'warning', text: /names no pod of node n/, remedy: /nodeName/ },
  ]);
});

t.test('an API server that does not', async (t) => {
  t.match(checkPodSource({ ...facts, api: { problem: 'the API server answers 403' } }), [
    { level: 'warning', text: /tells nothing: the API server answers 403/, remedy: /docs\/podsource\.md/ },
  ]);
});
