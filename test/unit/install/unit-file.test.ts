// systemd's syntax, as far as the kubelet's command line goes.
import fc from 'fast-check';
import t from 'tap';
import { expandCommand, parseEnvironmentFile, readService, splitWords } from '../../../agent/install/unit-file.ts';

const KUBEADM = `# Note: This dropin only works with kubeadm and kubelet v1.11+
[Service]
Environment="KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf"
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml"
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
EnvironmentFile=-/etc/default/kubelet
ExecStart=
ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS
`;
const UNIT =
  '[Unit]\nDescription=kubelet\nExecStart=not this\n\n[Service]\nExecStart=/usr/bin/kubelet\nRestart=always\n';

t.test("kubeadm's drop-in takes back the unit's command", async (t) => {
  const service = readService([
    { path: '/usr/lib/systemd/system/kubelet.service', text: UNIT },
    { path: '/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf', text: KUBEADM },
  ]);
  t.strictSame(service.commands, [
    '/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS',
  ]);
  t.strictSame(service.environmentFiles, ['/var/lib/kubelet/kubeadm-flags.env', '/etc/default/kubelet']);
  t.equal(service.environment[1], 'KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml');
});

t.test('lines go on after a backslash, past comments', async (t) => {
  const text = '[Service]\nExecStart=/usr/bin/kubelet \\\n  # a comment\n  --config=/a \\\n  --v=2\n';
  t.strictSame(readService([{ path: 'x', text }]).commands, ['/usr/bin/kubelet --config=/a --v=2']);
});

t.test('a line goes on after its very last character only, and after no backslash that is escaped', async (t) => {
  const commands = (command: string): readonly string[] =>
    readService([{ path: 'x', text: `[Service]\nExecStart=/usr/bin/kubelet ${command}\nRestart=always\n` }]).commands;
  t.strictSame(
    commands('--a \\ '),
    ['/usr/bin/kubelet --a \\'],
    'systemd-analyze verify of 252 reads Restart= as a key',
  );
  t.strictSame(commands('--a \\\\'), ['/usr/bin/kubelet --a \\\\']);
  t.strictSame(commands('--a \\\r'), ['/usr/bin/kubelet --a Restart=always']);
});

t.test('words are split as systemd splits them', async (t) => {
  t.strictSame(splitWords(`a  "b c"\t'd "e"' f\\ g ""`), ['a', 'b c', 'd "e"', 'f g', '']);
  const words = fc.array(
    fc
      .string()
      .map((word) => word.replaceAll(/[\s\\'"]/g, ''))
      .filter((word) => word !== ''),
  );
  fc.assert(
    fc.property(words, (each) => {
      t.strictSame(splitWords(each.map((word) => `"${word}"`).join(' ')), each);
    }),
  );
});

t.test('environment files: quotes, comments, nothing that is no assignment', async (t) => {
  const text =
    '# c\n; d\nKUBELET_KUBEADM_ARGS="--container-runtime-endpoint=unix:///x --v=2"\nA=\'b c\'\nnonsense\n D = e\n';
  t.strictSame(parseEnvironmentFile(text), [
    ['KUBELET_KUBEADM_ARGS', '--container-runtime-endpoint=unix:///x --v=2'],
    ['A', 'b c'],
  ]);
});

t.test('variables become words, or part of one', async (t) => {
  const variables = new Map([['ARGS', '--a "--b c"']]);
  // biome-ignore lint/suspicious/noTemplateCurlyInString: these are systemd's variables
  t.strictSame(expandCommand('-/usr/bin/kubelet $ARGS ${ARGS} $NONE x${ARGS}', variables), [
    '/usr/bin/kubelet',
    '--a',
    '--b c',
    '--a "--b c"',
    'x--a "--b c"',
  ]);
});
