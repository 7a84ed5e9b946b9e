// What the documentation points at exists.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));

function pages(): readonly string[] {
  const docs = readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' }).map((name) => join('docs', name));
  return ['README.md', 'CHANGELOG.md', 'test/README.md', ...docs].filter((name) => name.endsWith('.md'));
}

/** Relative targets of links, without their anchors. */
function localLinks(page: string): readonly string[] {
  const text = readFileSync(join(ROOT, page), 'utf8').replaceAll(/```[\s\S]*?```/g, '');
  return [...text.matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, target]) => target ?? '')
    .filter((target) => !/^(?:[a-z]+:|#)/.test(target))
    .map((target) => target.replace(/#.*$/, ''));
}

t.test('links between pages lead somewhere', async (t) => {
  const broken = pages().flatMap((page) =>
    localLinks(page)
      .filter((target) => !existsSync(join(ROOT, dirname(page), target)))
      .map((target) => `${page} → ${target}`),
  );
  t.strictSame(broken, []);
});

t.test('pages that the programs name in their messages exist', async (t) => {
  const sources = ['lib', 'agent', 'cri-shim', 'extender', 'systemd'].flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name)),
  );
  const named = sources.flatMap((file) =>
    [...readFileSync(file, 'utf8').matchAll(/\bdocs\/[a-z-]+\.md/g)].map(([page]) => ({ file, page })),
  );
  t.ok(named.length > 0, 'some were found');
  const missing = named.filter(({ page }) => !existsSync(join(ROOT, page)));
  t.strictSame(
    missing.map(({ file, page }) => `${relative(ROOT, file)} names ${page}`),
    [],
  );
});
