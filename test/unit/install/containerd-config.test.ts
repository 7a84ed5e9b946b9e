// Where containerd looks for CNI plugins, by its configuration in each of its versions; and TOML as people write it.
import t from 'tap';
import { matchesPattern, readCniSettings } from '../../../agent/install/containerd-config.ts';

t.test('the CRI plugin of each version of the configuration', (t) => {
  const debian = [
    'version = 2',
    '[plugins]',
    '  [plugins."io.containerd.grpc.v1.cri"]',
    '    [plugins."io.containerd.grpc.v1.cri".cni]',
    '      bin_dir = "/usr/lib/cni"',
    '      conf_dir = "/etc/cni/net.d"',
  ].join('\n');
  t.strictSame(readCniSettings(debian), { imports: [], plugins: ['/usr/lib/cni'], networks: '/etc/cni/net.d' });
  const third = [
    "version = 3\nimports = ['/etc/containerd/conf.d/*.toml']",
    "[plugins.'io.containerd.cri.v1.runtime'.cni]",
    "bin_dirs = ['/opt/cni/bin', # first",
    "  '/usr/local/libexec/cni',]",
    "bin_dir = ''",
  ].join('\n');
  t.strictSame(readCniSettings(third), {
    imports: ['/etc/containerd/conf.d/*.toml'],
    plugins: ['/opt/cni/bin', '/usr/local/libexec/cni'],
  });
  t.strictSame(readCniSettings('[plugins.cri.cni]\nbin_dir = "/a"').plugins, ['/a'], 'of version 1');
  const inline = `plugins."io.containerd.cri.v1.runtime" = {cni = {bin_dir = "/b", bin_dirs = ["/c"]}}`;
  t.strictSame(readCniSettings(inline).plugins, ['/b']);
  t.end();
});

t.test('what says nothing, or nothing that can be meant', (t) => {
  for (const text of [
    '',
    'version = 2',
    '[plugins."x".cni]\nbin_dir = "/a"',
    '[plugins.cri.cni]\nbin_dir = "relative"',
  ]) {
    t.strictSame(readCniSettings(text), { imports: [] }, text);
  }
  t.strictSame(readCniSettings('[plugins.cri.cni]\nbin_dir = 7\nbin_dirs = "x"\nconf_dir = []'), { imports: [] });
  t.end();
});

t.test('TOML as people write it', (t) => {
  const text = `\uFEFF# a comment\r\nimports = ["x\\ty", 'C:\\no', '''z'''] # behind it\r\n[__proto__]\nplugins = "y"`;
  t.strictSame(readCniSettings(text), { imports: ['x\ty', 'C:\\no', 'z'] });
  t.end();
});

t.test('what is no TOML is refused with its line', (t) => {
  for (const [text, line] of [
    ['a', 1],
    ['a = 1\nb = "x', 2],
    ['[a\n', 1],
    ['a = 1\na = 2', 2],
    ['a = "\\q"', 1],
    [`a = ${'['.repeat(100)}`, 1],
  ] as const) {
    t.throws(() => readCniSettings(text), { code: 'INVALID_CONFIG', message: new RegExp(`^line ${line}: `) }, text);
  }
  t.end();
});

t.test('patterns of imports', (t) => {
  t.ok(matchesPattern('10-cni.toml', '*.toml'));
  t.ok(matchesPattern('a.toml', '?.toml'));
  t.notOk(matchesPattern('a.toml.bak', '*.toml'));
  t.notOk(matchesPattern('axtoml', 'a.toml'));
  t.end();
});
