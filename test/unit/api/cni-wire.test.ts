// Requests on cni.sock, however the socket cuts them.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { encodeAnswer, MAX_STDIN, MAX_VARIABLES, RequestReader } from '../../../agent/api/cni-wire.ts';
import { holds } from '../../support/properties.ts';

function encode(variables: Readonly<Record<string, string>>, stdin: Uint8Array): Buffer {
  const names = Buffer.from(
    Object.entries(variables)
      .map(([name, value]) => `${name}=${value}\0`)
      .join(''),
  );
  return Buffer.concat([Buffer.from(`holdfast-cni/1 ${names.length} ${stdin.length}\n`), names, stdin]);
}

/** Chunks that end at the given places. */
function cut(bytes: Buffer, places: readonly number[]): readonly Buffer[] {
  const ends = [...new Set([...places.map((place) => place % (bytes.length + 1)), bytes.length])].toSorted(
    (a, b) => a - b,
  );
  return ends.map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end));
}

const value = fc.string({ unit: 'grapheme' }).map((text) => text.replaceAll('\0', ''));
const variables = fc.dictionary(fc.stringMatching(/^CNI_[A-Z]{0,8}$/), value, { noNullPrototype: true });

t.test('a request is the same however it is cut', async (t) => {
  const property = fc.property(variables, fc.uint8Array(), fc.array(fc.nat()), (names, stdin, places) => {
    const reader = new RequestReader();
    const chunks = cut(encode(names, stdin), places);
    const results = chunks.map((chunk) => reader.push(chunk));
    const last = results.pop();
    assert.ok(
      results.every((result) => result === undefined),
      'it is not there before its last byte',
    );
    assert.deepEqual(Object.fromEntries(last?.variables ?? []), names);
    assert.deepEqual(new Uint8Array(last?.stdin ?? []), stdin);
  });
  holds(t, 'read as it was written', property, 500);
});

t.test('any bytes are a request, not yet one, or refused', async (t) => {
  const chunk = fc.oneof(
    fc.uint8Array(),
    fc.constantFrom('holdfast-cni/1 ', '3 2\n', '0 0\n', 'A=\0', '\n').map((text) => Buffer.from(text)),
  );
  const property = fc.property(fc.array(chunk), (chunks) => {
    const reader = new RequestReader();
    try {
      for (const bytes of chunks) reader.push(Buffer.from(bytes));
    } catch (error) {
      assert.equal((error as { readonly cniCode?: unknown }).cniCode, 5);
    }
  });
  holds(t, 'no other error', property, 500);
});

t.test('what announces too much is refused before it is sent', async (t) => {
  const announce = (line: string) => () => new RequestReader().push(Buffer.from(line));
  t.doesNotThrow(announce(`holdfast-cni/1 ${MAX_VARIABLES} ${MAX_STDIN}\n`));
  t.throws(announce(`holdfast-cni/1 ${MAX_VARIABLES + 1} 0\n`), { cniCode: 5, message: /65536 bytes of variables/ });
  t.throws(announce(`holdfast-cni/1 0 ${MAX_STDIN + 1}\n`), { cniCode: 5, message: /1048576 bytes of network/ });
  t.throws(announce('holdfast-cni/1 0 99999999999999999999\n'), { message: /is not holdfast-cni/ });
  t.throws(announce('holdfast-cni/2 0 0\n'), { cniCode: 5, message: /agent's version/ });
  t.throws(announce('GET / HTTP/1.1\r\n'), { message: /is not holdfast-cni/ });
  t.throws(announce('x'.repeat(64)), { cniCode: 5, message: /no first line/ });
});

t.test('variables without their end or their name, and bytes beyond the end, are refused', async (t) => {
  const push = (text: string) => () => new RequestReader().push(Buffer.from(text));
  t.throws(push('holdfast-cni/1 5 0\nCNI_A'), { message: /without its end/ });
  t.throws(push('holdfast-cni/1 6 0\nCNI_A\0'), { message: /not CNI_/ });
  t.throws(push('holdfast-cni/1 7 0\nPATH=x\0'), { message: /not CNI_/ });
  t.throws(push('holdfast-cni/1 0 1\nab'), { message: /longer than its first line/ });
});

t.test('of two variables with one name the first counts', async (t) => {
  const call = new RequestReader().push(Buffer.from('holdfast-cni/1 16 0\nCNI_A=1\0CNI_A=2\0'));
  t.strictSame([...(call?.variables ?? [])], [['CNI_A', '1']]);
});

t.test('an answer leads with its status and its length in bytes', async (t) => {
  t.equal(encodeAnswer({ exitStatus: 0, stdout: '' }).toString(), '0 0\n');
  t.equal(encodeAnswer({ exitStatus: 1, stdout: 'ä' }).toString(), '1 2\nä');
});
