// What doctor says of the podresources sockets, ours and the kubelet's.
import t from 'tap';
import { checkPodResources } from '../../../../agent/cli/doctor-checks/pod-resources.ts';

const socket = '/run/holdfast/podresources.sock';
const kubeletSocket = '/var/lib/kubelet/pod-resources/kubelet.sock';

t.test('both answer', async (t) => {
  const found = checkPodResources({ socket, own: { value: 7 }, kubeletSocket, kubelet: { value: 7 } });
  t.strictSame(found, [{ level: 'ok', subject: 'pod resources', text: `7 pods on ${socket}` }]);
});

t.test('a kubelet that is not to be asked is no finding', async (t) => {
  const found = checkPodResources({ socket, own: { value: 0 }, kubeletSocket: undefined, kubelet: undefined });
  t.match(found, [{ level: 'ok' }]);
  t.equal(found.length, 1);
});

t.test('a kubelet that is away costs the devices', async (t) => {
  const found = checkPodResources({ socket, own: { value: 7 }, kubeletSocket, kubelet: { problem: 'ENOENT' } });
  t.match(found, [
    { level: 'ok' },
    { level: 'warning', text: /kubelet\.sock: ENOENT; devices/, remedy: /podResources/ },
  ]);
});

t.test('an agent that is away is what matters', async (t) => {
  const found = checkPodResources({
    socket,
    own: { problem: 'no answer' },
    kubeletSocket,
    kubelet: { problem: 'ENOENT' },
  });
  t.match(found, [{ level: 'warning', text: /nothing answers.*podresources\.sock: no answer/ }]);
  t.equal(found.length, 1);
});
