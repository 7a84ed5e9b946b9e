import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { readSpecJson } from '../../../agent/runtime/oci-spec-json.ts';
import { holds } from '../../support/properties.ts';

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
const decode = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const unchanged = (text: string): string => {
  const { spec, write } = readSpecJson(encode(text));
  return decode(write(spec));
};

t.test('no digit is lost', async (t) => {
  const text =
    '{"process":{"rlimits":[{"hard":18446744073709551615,"soft":1024}]},"linux":{"resources":{"memory":{"limit":9223372036854771712,"swap":-9223372036854775808}}},"x":[1e400,-0.10,1E5]}';
  t.equal(unchanged(text), text);
});

t.test('an edit changes what it changes', async (t) => {
  const { spec, write } = readSpecJson(encode('{"a":18446744073709551615,"linux":{"b":1}}'));
  const edited = { ...spec, linux: { ...spec.linux, cgroupsPath: '/pod' } };
  t.equal(decode(write(edited)), '{"a":18446744073709551615,"linux":{"b":1,"cgroupsPath":"/pod"}}');
});

t.test('strings are left alone, also those that look like numbers', async (t) => {
  const text = JSON.stringify({
    a: '18446744073709551615',
    b: 'say "9007199254740993"',
    c: 'number x 99',
    d: '\\',
    e: '\\"1',
  });
  t.equal(unchanged(text), text);
});

t.test('what is not an object is refused', async (t) => {
  for (const text of ['', '{', '[]', 'null', '1']) {
    t.throws(() => readSpecJson(encode(text)), { name: 'HoldfastError', code: 'HOST_FAILURE' }, text);
  }
});

t.test('properties', async (t) => {
  const value = fc.jsonValue({ maxDepth: 4 });
  holds(
    t,
    'any JSON survives',
    fc.property(value, (json) => {
      const text = JSON.stringify({ json });
      assert.deepEqual(JSON.parse(unchanged(text)), JSON.parse(text));
    }),
    300,
  );
  holds(
    t,
    'any integer survives digit by digit, beside any text',
    fc.property(fc.bigInt({ min: -(2n ** 70n), max: 2n ** 70n }), fc.string(), (number, string) => {
      const text = `{"number":${number},"text":${JSON.stringify(string)}}`;
      assert.equal(unchanged(text), text);
    }),
    500,
  );
});
