import { execFileSync } from 'node:child_process';
import t from 'tap';
import { writeTar } from '../../../../agent/cli/quickstart/tar.ts';

t.test('GNU tar lists what was written', async (t) => {
  const archive = writeTar([
    { type: 'directory', path: 'bin/', mode: 0o755 },
    { type: 'file', path: 'bin/tool', mode: 0o4711, content: Buffer.from('x'.repeat(513)) },
    { type: 'file', path: 'empty', mode: 0o600, content: Buffer.alloc(0) },
    { type: 'symlink', path: 'bin/sh', target: 'tool' },
  ]);
  t.equal(archive.byteLength % 512, 0);
  const listing = execFileSync('tar', ['--list', '--verbose', '--numeric-owner', '--utc', '--full-time', '--file=-'], {
    input: archive,
    encoding: 'utf8',
  });
  t.strictSame(
    listing
      .trimEnd()
      .split('\n')
      .map((line) => line.replace(/ +/g, ' ')),
    [
      'drwxr-xr-x 0/0 0 1970-01-01 00:00:00 bin/',
      '-rws--x--x 0/0 513 1970-01-01 00:00:00 bin/tool',
      '-rw------- 0/0 0 1970-01-01 00:00:00 empty',
      'lrwxrwxrwx 0/0 0 1970-01-01 00:00:00 bin/sh -> tool',
    ],
  );
  const content = execFileSync('tar', ['--extract', '--to-stdout', '--file=-', 'bin/tool'], { input: archive });
  t.equal(content.toString(), 'x'.repeat(513));
});

t.test('a path that does not fit is refused, not cut', async (t) => {
  t.throws(() => writeTar([{ type: 'directory', path: `${'a'.repeat(101)}/`, mode: 0o755 }]), RangeError);
});
