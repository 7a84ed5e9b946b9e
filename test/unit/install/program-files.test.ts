// Which files are the program.
import t from 'tap';
import { candidates, isProgramFile, needsOf } from '../../../agent/install/program-files.ts';

t.test('packages are looked for as Node.js does', async (t) => {
  t.strictSame(candidates('', 'a'), ['node_modules/a']);
  t.strictSame(candidates('node_modules/@x/b/node_modules/c', 'a'), [
    'node_modules/@x/b/node_modules/c/node_modules/a',
    'node_modules/@x/b/node_modules/a',
    'node_modules/a',
  ]);
});

t.test('type declarations are not needed, optional packages may be absent', async (t) => {
  const needs = { dependencies: { a: '1', '@types/node': '20', b: '1' }, optionalDependencies: { b: '1' } };
  t.strictSame(needsOf(needs), [
    { name: 'a', isOptional: false },
    { name: 'b', isOptional: true },
  ]);
});

t.test('what is not needed to run stays behind', async (t) => {
  for (const path of ['bin/holdfast', 'dist/agent/main.js', 'node_modules/a/index.js', 'node_modules/a/LICENSE.md']) {
    t.ok(isProgramFile(path), path);
  }
  for (const path of [
    'dist/agent/main.js.map',
    'dist/.stamp',
    'node_modules/a/x.d.ts',
    'node_modules/a/node_modules',
  ]) {
    t.notOk(isProgramFile(path), path);
  }
});
