import t from 'tap';
import { productionPackages } from '../../vm/machine/product.ts';
import {
  FOUR_NODES,
  MEMORY_ONLY_NODE,
  ONE_CPU_OFFLINE,
  shapeArguments,
  shapeKernelArguments,
} from '../../vm/machine/shapes.ts';
import { anonymousPages } from '../../vm/node/facts.ts';

t.test('every node of a shape has its memory, its CPUs and its distances', async (t) => {
  const words = shapeArguments(MEMORY_ONLY_NODE);
  t.ok(words.includes('node,nodeid=0,cpus=0,memdev=memory0'));
  t.ok(words.includes('node,nodeid=2,memdev=memory2'), 'a node without CPUs is given none');
  t.ok(words.includes('2048M'), 'the machine has what its nodes have');
  t.equal(shapeArguments(FOUR_NODES).filter((word) => word.startsWith('dist,')).length, 12);
});

t.test('the kernel leaves CPUs offline only where the shape says so', async (t) => {
  t.strictSame(shapeKernelArguments(FOUR_NODES), []);
  t.strictSame(shapeKernelArguments(ONE_CPU_OFFLINE), ['maxcpus=3']);
});

t.test('the product has no package that only the checkout needs', async (t) => {
  const packages = {
    '': {},
    'node_modules/a': {},
    'node_modules/b': { dev: true },
    'node_modules/c': { devOptional: true },
    'node_modules/a/node_modules/d': {},
  };
  t.strictSame(productionPackages({ packages }), ['node_modules/a', 'node_modules/a/node_modules/d']);
});

t.test('pages are counted where they are, and only those of the process itself', async (t) => {
  const numaMaps = [
    '00400000 default file=/bin/busybox mapped=100 N0=100 kernelpagesize_kB=4',
    '00500000 default file=/bin/busybox anon=2 dirty=2 mapped=30 N0=28 N1=2 kernelpagesize_kB=4',
    '01b9b000 bind:1 heap anon=7 dirty=7 N1=7 kernelpagesize_kB=4',
    '7f2a0000 bind:1 anon=8192 dirty=8192 N0=2 N1=8190 kernelpagesize_kB=4',
  ].join('\n');
  t.strictSame(
    [...anonymousPages(numaMaps)].toSorted(([a], [b]) => a - b),
    [
      [0, 2],
      [1, 8197],
    ],
  );
});
