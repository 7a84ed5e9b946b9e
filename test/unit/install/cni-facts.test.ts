// Whose a plugin and a network are, by their content.
import t from 'tap';
import {
  classifyPlugin,
  poolOfNetwork,
  type ReadNetwork,
  readNetwork,
  usesOurPlugin,
} from '../../../agent/install/cni-facts.ts';
import { launcherMark, PLUGIN_SCRIPT } from '../../../agent/install/wanted-cni.ts';

const ELF = '\u007FELF\u0002\u0001\0';

t.test('a plugin is known by what is in it', (t) => {
  const mark = launcherMark('int main(void) {}');
  t.strictSame(classifyPlugin(`${ELF}…holdfast-cni/1 %zu…${mark}\0…`, 0o755), { kind: 'launcher', mark, mode: 0o755 });
  t.match(classifyPlugin(PLUGIN_SCRIPT, 0o700), { kind: 'script', mode: 0o700 });
  t.strictSame(classifyPlugin(`${ELF}…holdfast-cni/1 %zu…`, 0o755), { kind: 'by-hand' });
  t.strictSame(classifyPlugin('#!/bin/sh\nexec node /opt/holdfast/dist/cni-plugin/main.js\n', 0o755), {
    kind: 'by-hand',
  });
  t.match(classifyPlugin(`${ELF}…bridge…`, 0o755), { kind: 'foreign', what: 'a program' });
  t.match(classifyPlugin(`#!/bin/sh\n# ${mark}\n`, 0o755), { kind: 'foreign' }, 'a mark makes no launcher of a text');
  t.match(classifyPlugin('', 0o644), { kind: 'foreign', what: 'a file' });
  t.not(mark, launcherMark('int main(void) { return 1; }'));
  t.end();
});

t.test('networks as libcni reads them', (t) => {
  const read = (name: string, value: unknown): ReadNetwork | undefined =>
    readNetwork({ path: `/etc/cni/net.d/${name}`, text: typeof value === 'string' ? value : JSON.stringify(value) });
  const list = read('10-x.conflist', { name: 'x', plugins: [{ type: 'holdfast', pool: 'a' }, { type: 'portmap' }] });
  t.match(list, { name: 'x', plugins: [{ type: 'holdfast' }, { type: 'portmap' }] });
  const single = read('10-x.conf', { name: 'x', type: 'macvlan', ipam: { type: 'holdfast', pool: 'b' } });
  const other = read('10-x.json', { name: 'x', type: 'bridge', ipam: { type: 'host-local', pool: 'c' } });
  const uses = [list, single, other].map((each) => each !== undefined && usesOurPlugin(each));
  t.strictSame(uses, [true, true, false]);
  t.strictSame(
    [list, single, other].map((each) => each && poolOfNetwork(each)),
    ['a', 'b', undefined],
  );
  for (const value of ['', '[]', 'null', '{"name":', { plugins: [] }, { plugins: 7 }]) {
    t.equal(read('10-x.conflist', value), undefined);
  }
  t.equal(read('10-x.conf', { name: 'x' }), undefined);
  t.end();
});
