// A real containerd says where it looks for plugins and networks of CNI: as it is configured, not as its file would be read.
import { dirname, join } from 'node:path';
import t from 'tap';
import { startPrivateContainerd } from '../../../agent/cli/quickstart/private-containerd.ts';
import { askCniDirectories } from '../../../agent/runtime/cni-directories.ts';

t.test('the directories that containerd is configured with', async (t) => {
  const containerd = await startPrivateContainerd({});
  t.teardown(() => containerd.stop());
  const directories = await askCniDirectories(containerd.socketPath, new AbortController().signal);
  t.strictSame(directories, {
    plugins: [join(containerd.directory, 'cni', 'bin')],
    networks: join(containerd.directory, 'cni', 'net.d'),
  });
  const nobody = join(dirname(containerd.socketPath), 'nobody.sock');
  await t.rejects(askCniDirectories(nobody, new AbortController().signal), { code: 'UNAVAILABLE' });
});
