import t from 'tap';
import { findArchive, osReleaseField } from '../../vm/machine/apt-source.ts';

const TARGETS = [
  'http://tools.example/apt tools-bookworm  main',
  'http://debian.example/debian/ bookworm-updates bookworm-updates main',
  'http://security.example/debian-security/ bookworm-security bookworm-security main',
  'http://debian.example/debian/ bookworm bookworm contrib',
  'http://debian.example/debian/ bookworm bookworm main',
].join('\n');

t.test('the archive is the one that has the release itself', async (t) => {
  t.equal(findArchive(TARGETS, 'bookworm'), 'http://debian.example/debian/');
  t.equal(findArchive(TARGETS, 'trixie'), undefined);
  t.equal(findArchive('', 'bookworm'), undefined);
});

t.test('a source that names the release "stable" is found by its code name', async (t) => {
  t.equal(findArchive('http://debian.example/ stable bookworm main', 'bookworm'), 'http://debian.example/');
});

t.test('fields of os-release come with quotes and without', async (t) => {
  const text = 'PRETTY_NAME="Debian"\nVERSION_CODENAME=bookworm\nID="debian"\nID_LIKE=other\n';
  t.strictSame(
    ['ID', 'VERSION_CODENAME', 'VARIANT'].map((name) => osReleaseField(text, name)),
    ['debian', 'bookworm', undefined],
  );
});
