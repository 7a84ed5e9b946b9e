// The kernel's formats for numbers and sets.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { CpuSet } from '../../../agent/model/cpu-set.ts';
import {
  parseCount,
  parseDistances,
  parseInteger,
  parseList,
  parseMask,
  parseMemTotal,
  parsePageSize,
} from '../../../agent/topology/kernel-text.ts';

const file = (text: string): { path: string; text: string } => ({ path: '/sys/file', text });
const damaged = { code: 'HOST_FAILURE', message: /^\/sys\/file / };
const setArbitrary = fc.uniqueArray(fc.nat({ max: 300 })).map((ids) => CpuSet.from(ids));

/** As the kernel prints it: words of 32 bits, the highest first, the first one as short as it happens to be. */
function printMask(set: CpuSet): string {
  const words: string[] = [];
  for (let word = 0; word <= 9; word += 1) {
    const value = [...set].filter((id) => id >> 5 === word).reduce((sum, id) => sum + 2 ** (id & 31), 0);
    words.unshift(value.toString(16).padStart(word === 9 ? 1 : 8, '0'));
  }
  return words.join(',');
}

await t.test('sets come back from lists and masks', async () => {
  fc.assert(
    fc.property(setArbitrary, (set) => {
      assert.ok(parseList(file(`${set.toString()}\n`)).equals(set));
      assert.ok(parseMask(file(`${printMask(set)}\n`)).equals(set));
    }),
  );
});

await t.test('garbage is an error that names the file', async (t) => {
  for (const text of ['x', '1-', '3-1', '0-9999999', '-1', '1 2']) t.throws(() => parseList(file(text)), damaged);
  for (const text of ['', 'g', '123456789', '1,,2', `${'0,'.repeat(40_000)}0`])
    t.throws(() => parseMask(file(text)), damaged);
  for (const text of ['', 'x', '1.5', '99999999999', '1\n2']) t.throws(() => parseInteger(file(text)), damaged);
  for (const text of ['', '-1', '99999999999999999']) t.throws(() => parseCount(file(text)), damaged);
  for (const text of ['', 'MemTotal: x kB', 'MemFree: 1 kB']) t.throws(() => parseMemTotal(file(text)), damaged);
  for (const text of ['', '10 x', '256']) t.throws(() => parseDistances(file(text)), damaged);
  t.throws(() => parsePageSize('/sys/hugepages/hugepages-xkB'), { code: 'HOST_FAILURE' });
});

await t.test('a long text is quoted in part', async (t) => {
  try {
    parseInteger(file('z'.repeat(5000)));
    t.fail('no error');
  } catch (error) {
    t.ok(String(error).length < 200, String(error));
  }
});

await t.test('values', async (t) => {
  t.equal(parseInteger(file('4294967295\n')), -1, 'an unsigned -1');
  t.equal(parseInteger(file(' -1\n')), -1);
  t.equal(parseMemTotal(file('MemTotal:       16384 kB\nMemFree: 1 kB\n')), 16_384 * 1024);
  t.equal(parseMemTotal(file('\nNode 12 MemTotal: 7 kB\n')), 7 * 1024);
  t.equal(parsePageSize('/sys/x/hugepages-1048576kB'), 2 ** 30);
  t.same(parseDistances(file('10 16  22\n')), [10, 16, 22]);
});
