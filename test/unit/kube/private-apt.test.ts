// The sources of the private apt with which test/kube gets source packages.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { withSourceLines, withSourceTypes } from '../../kube/build/private-apt.ts';
import { changeSource } from '../../kube/build/source-changes.ts';

t.test('each line of packages is followed by one of their sources', async (t) => {
  const text = '# deb off\ndeb [signed-by=/k.gpg] mirror+file:/m bookworm main\ndeb-src file:/m bookworm main\n';
  t.equal(
    withSourceLines(text),
    [
      '# deb off',
      'deb [signed-by=/k.gpg] mirror+file:/m bookworm main',
      'deb-src [signed-by=/k.gpg] mirror+file:/m bookworm main',
      'deb-src file:/m bookworm main',
      '',
    ].join('\n'),
  );
});

t.test('paragraphs of packages get their sources, others stay as they are', async (t) => {
  const rest = '\nURIs: file:/m\nSuites: bookworm\n';
  t.equal(withSourceTypes(`Types: deb${rest}`), `Types: deb deb-src${rest}`);
  t.equal(withSourceTypes(`types: deb-src deb${rest}`), `Types: deb deb-src${rest}`);
  t.equal(withSourceTypes(`Types: deb-src${rest}`), `Types: deb-src${rest}`);
  t.equal(withSourceTypes(`Types: deb\nEnabled: no${rest}`), `Types: deb deb-src\nEnabled: no${rest}`);
});

t.test('sources of another version than 1.20.2 are refused by the name of the file that differs', async (t) => {
  const source = await mkdtemp(join(tmpdir(), 'holdfast-source-'));
  t.teardown(() => rm(source, { recursive: true }));
  await mkdir(join(source, 'pkg/kubelet/cri/remote'), { recursive: true });
  await writeFile(join(source, 'pkg/kubelet/cri/remote/remote_image.go'), 'conn, err := grpc.NewClient(addr)\n');
  await t.rejects(changeSource(source), { message: /remote_image\.go is not as in Kubernetes 1\.20\.2/ });
});
