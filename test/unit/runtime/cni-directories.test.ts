// What a runtime says of its directories for CNI.
import t from 'tap';
import { parseCniDirectories } from '../../../agent/runtime/cni-directories.ts';

const parse = (cni: unknown) => parseCniDirectories(JSON.stringify({ cni }));

t.test('of containerd before and since 2.1', (t) => {
  t.strictSame(parse({ binDir: '/usr/lib/cni', confDir: '/etc/cni/net.d', maxConfNum: 1 }), {
    plugins: ['/usr/lib/cni'],
    networks: '/etc/cni/net.d',
  });
  t.strictSame(parse({ binDir: '', binDirs: ['/a', '/b'], confDir: '/c' }), { plugins: ['/a', '/b'], networks: '/c' });
  t.strictSame(parse({ binDir: '/a', binDirs: null, confDir: '/c' }), { plugins: ['/a'], networks: '/c' });
  t.end();
});

t.test('a runtime that says something else, or nothing', (t) => {
  for (const config of [undefined, '', '{', '7', '{}', '{"cni":{}}']) t.equal(parseCniDirectories(config), undefined);
  t.equal(parse({ binDir: 'relative', confDir: '/c' }), undefined);
  t.equal(parse({ binDirs: [], confDir: '/c' }), undefined);
  t.end();
});
