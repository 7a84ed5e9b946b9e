// XXH64 against values that the reference implementation (libxxhash 0.8.1) gives, for each way through it.
import t from 'tap';
import { xxhash64 } from '../../../lib/xxhash64.ts';

const VALUES: readonly (readonly [string, bigint, bigint])[] = [
  ['', 0n, 0xef46db3751d8e999n],
  ['a', 0n, 0xd24ec4f1a98c6e5bn],
  ['abc', 0n, 0x44bc2cf5ad770999n],
  ['Nobody inspects the spammish repetition', 0n, 0xfbcea83c8a378bf1n],
  ['', 0xae0543dfn, 0xe3cbb855ab5eea24n],
  ['namespace', 0xffffffffffffffffn, 0xe3770d057b193ff8n],
  ['exactly thirty-two bytes long !!', 1n, 0x50a75b911dbffc13n],
  ['a name of more than thirty-two bytes, with a rest of 5+4+1', 0x9e3779b97f4a7c15n, 0xc5c15f8f128614d6n],
  ['x'.repeat(64), 12345678901234567890n, 0x292595be62e3f0b4n],
];

for (const [text, seed, hash] of VALUES) {
  t.test(`"${text}" with seed ${seed}`, async (t) => {
    t.equal(xxhash64(Buffer.from(text), seed).toString(16), hash.toString(16));
  });
}

t.test('a piece of a larger buffer is hashed by itself', async (t) => {
  t.equal(xxhash64(Buffer.from('xabcx').subarray(1, 4)), 0x44bc2cf5ad770999n);
});
