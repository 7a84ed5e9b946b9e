// Plans as people read them.
import t from 'tap';
import { formatDiff, formatSteps } from '../../../agent/install/step-text.ts';

t.test('the change of a file is a unified diff', async (t) => {
  t.equal(
    formatDiff('/etc/x', 'a\nb\n', 'a\nc\n'),
    ['--- /etc/x', '+++ /etc/x', '@@ -1,2 +1,2 @@', ' a', '-b', '+c'].join('\n'),
  );
  t.match(formatDiff('/etc/x', undefined, 'a\n'), /^--- \/dev\/null\n\+\+\+ \/etc\/x\n/);
});

t.test('every step is a line, with the change of its file below', async (t) => {
  const text = formatSteps([
    { do: 'run', program: 'systemctl', args: ['restart', 'x.service'] },
    { do: 'link', path: '/a', target: '/b', before: '/c' },
    { do: 'write', path: '/d', text: 'new\n', mode: 0o644, before: { text: 'old\n', mode: 0o644 } },
  ]);
  t.equal(
    text,
    [
      '- run systemctl restart x.service',
      '- link /a → /b (was /c)',
      '- change /d (mode 0644)',
      '    --- /d',
      '    +++ /d',
      '    @@ -1,1 +1,1 @@',
      '    -old',
      '    +new',
      '',
    ].join('\n'),
  );
});
