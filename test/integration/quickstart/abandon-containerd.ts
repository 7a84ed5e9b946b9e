// A program of the tests that starts a private containerd with a container in it, says where, and waits to be killed.
import { CriClient } from '../../../agent/cli/quickstart/cri-client.ts';
import { APP_IMAGE } from '../../../agent/cli/quickstart/images.ts';
import { startPrivateContainerd } from '../../../agent/cli/quickstart/private-containerd.ts';

const containerd = await startPrivateContainerd();
const kubelet = new CriClient(containerd);
await kubelet.makePod({
  name: 'abandoned',
  namespace: 'default',
  uid: 'uid-abandoned',
  containers: [{ name: 'app', image: APP_IMAGE, command: ['/bin/sleep', '1000'] }],
});
process.stdout.write(`${containerd.directory}\n`);
setInterval(() => {}, 60_000);
