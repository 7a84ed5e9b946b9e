import { chmod, link, lstat, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { archiveDirectory } from '../../../agent/host/archive.ts';
import { openDirectories } from '../../../agent/host/directories.ts';

async function scratch(t: { teardown(work: () => Promise<void>): void }): Promise<string> {
  const root = await mkdtemp(join(tmpdir(), 'holdfast-directories-'));
  t.teardown(() => rm(root, { recursive: true, force: true }));
  return root;
}

t.test('a directory replaces an empty one, and keeps its inode', async (t) => {
  const root = await scratch(t);
  const directories = openDirectories(root);
  await mkdir(join(root, 'a/fs'), { recursive: true });
  await chmod(join(root, 'a/fs'), 0o1750);
  await writeFile(join(root, 'a/fs/file'), 'data');
  await mkdir(join(root, 'b/fs'), { recursive: true });
  const facts = await directories.factsOf('/a/fs');
  if (facts === undefined) throw new Error('it was made');
  t.equal(facts.mode, 0o1750);
  t.equal(await directories.isEmpty('/a/fs'), false);
  t.equal(await directories.isEmpty('/b/fs'), true);

  t.equal(await directories.moveOver('/a/fs', '/b/fs'), 'moved');
  t.equal(await readFile(join(root, 'b/fs/file'), 'utf8'), 'data');
  t.equal((await directories.factsOf('/b/fs'))?.inode, facts.inode);
  t.equal(await directories.factsOf('/a/fs'), undefined);
  t.equal(await directories.isEmpty('/a/fs'), true, 'what does not exist has nothing in it');

  await directories.makeLike('/a/fs', facts);
  await directories.makeLike('/a/fs', facts);
  t.match(await directories.factsOf('/a/fs'), { mode: 0o1750, uid: facts.uid, gid: facts.gid });
  await directories.syncParents('/a/fs', '/b/fs', '/gone/fs');
});

t.test('a directory with something in it is not replaced', async (t) => {
  const root = await scratch(t);
  const directories = openDirectories(root);
  for (const name of ['a', 'b']) {
    await mkdir(join(root, name));
    await writeFile(join(root, name, 'file'), name);
  }
  t.equal(await directories.moveOver('/a', '/b'), 'not-empty');
  t.equal(await readFile(join(root, 'b/file'), 'utf8'), 'b');
});

t.test('files and links are no directories; a parent that is gone is not made', async (t) => {
  const root = await scratch(t);
  const directories = openDirectories(root);
  await mkdir(join(root, 'real'));
  await symlink('real', join(root, 'link'));
  await writeFile(join(root, 'file'), '');
  t.equal(await directories.factsOf('/link'), undefined);
  t.equal(await directories.factsOf('/file'), undefined);
  t.equal(await directories.factsOf('/file/below'), undefined);
  await t.rejects(directories.moveOver('/nowhere', '/real'), { code: 'HOST_FAILURE' });
  const facts = await directories.factsOf('/real');
  if (facts === undefined) throw new Error('it was made');
  await directories.makeLike('/gone/fs', facts);
  t.equal(await directories.factsOf('/gone'), undefined);
});

t.test('an archive of what is below', async (t) => {
  const root = await scratch(t);
  await mkdir(join(root, 'layer/sub'), { recursive: true });
  await writeFile(join(root, 'layer/sub/file'), 'data');
  await link(join(root, 'layer/sub/file'), join(root, 'layer/hard'));
  const { chunks, warnings } = archiveDirectory(root, '/layer', new AbortController().signal);
  const parts: Uint8Array[] = [];
  for await (const chunk of chunks) parts.push(chunk);
  const archive = Buffer.concat(parts);
  t.ok(archive.includes('./sub/file') && archive.includes('data'));
  t.equal(archive.length % 512, 0);
  t.equal(warnings(), '');
});

t.test('an archive of nothing fails with what tar says; a given-up one with its reason', async (t) => {
  const root = await scratch(t);
  const drain = async (chunks: AsyncIterable<unknown>): Promise<void> => {
    for await (const _ of chunks);
  };
  await t.rejects(drain(archiveDirectory(root, '/none', new AbortController().signal).chunks), {
    code: 'HOST_FAILURE',
    message: /No such file/,
  });
  const reason = new Error('enough');
  await t.rejects(drain(archiveDirectory(root, '/', AbortSignal.abort(reason)).chunks), reason);
  t.ok((await lstat(root)).isDirectory());
});
