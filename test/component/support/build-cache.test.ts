// The cache of images and programs that tests build: made once, and made again when it is not whole.
import { readdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { fromCache, type Recipe } from '../../support/build-cache.ts';

function countingRecipe(inputs: readonly string[], more: Partial<Recipe> = {}) {
  const built: string[] = [];
  const recipe: Recipe = {
    name: 'image',
    inputs,
    build: async (folder) => {
      built.push(inputs.join());
      await writeFile(join(folder, 'disk'), `made of ${inputs.join()}`);
    },
    ...more,
  };
  return { recipe, built };
}

t.test('it is built once, also for several that ask at the same time', async (t) => {
  const root = t.testdir();
  const { recipe, built } = countingRecipe(['a']);
  const folders = await Promise.all([1, 2, 3].map(() => fromCache(recipe, root)));
  t.equal(new Set(folders).size, 1);
  t.equal(await readFile(join(folders[0] ?? '', 'disk'), 'utf8'), 'made of a');
  t.equal(built.length, 1);
});

t.test('other inputs are another build, and only the newest two stay', async (t) => {
  const root = t.testdir();
  const folders: string[] = [];
  for (const input of ['a', 'b', 'c']) folders.push(await fromCache(countingRecipe([input]).recipe, root));
  t.equal(new Set(folders).size, 3);
  const left = (await readdir(root)).filter((name) => !name.endsWith('.lock'));
  t.strictSame(
    left.toSorted(),
    folders
      .slice(1)
      .map((folder) => folder.slice(root.length + 1))
      .toSorted(),
  );
});

t.test('a file that was cut off, and what the recipe finds unsound, is built again', async (t) => {
  const root = t.testdir();
  let sound = true;
  const { recipe, built } = countingRecipe(['a'], { isSound: async () => sound });
  const folder = await fromCache(recipe, root);
  await truncate(join(folder, 'disk'), 3);
  t.equal(await readFile(join(await fromCache(recipe, root), 'disk'), 'utf8'), 'made of a');
  t.equal(built.length, 2);
  sound = false;
  await fromCache(recipe, root);
  t.equal(built.length, 3);
});

t.test('a build that fails leaves nothing, and is tried again by the next', async (t) => {
  const root = t.testdir();
  let works = false;
  const { recipe } = countingRecipe(['a'], {
    build: async (folder) => {
      await writeFile(join(folder, 'disk'), 'half');
      if (!works) throw new Error('no mirror');
    },
  });
  await t.rejects(fromCache(recipe, root), /no mirror/);
  t.strictSame(
    (await readdir(root)).filter((name) => !name.endsWith('.lock')),
    [],
  );
  works = true;
  t.equal(await readFile(join(await fromCache(recipe, root), 'disk'), 'utf8'), 'half');
});
