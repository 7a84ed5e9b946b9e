import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import {
  Attributes,
  attribute,
  decodeAttributes,
  nestedAttribute,
  textAttribute,
  u8Attribute,
  u32Attribute,
} from '../../../../agent/host/netlink/attributes.ts';
import {
  decodeMessages,
  decodeOutcome,
  describeErrno,
  encodeMessage,
  NLMSG_DONE,
  NLMSG_ERROR,
} from '../../../../agent/host/netlink/message.ts';
import { HoldfastError } from '../../../../lib/errors.ts';
import { holds } from '../../../support/properties.ts';

const bytes = (maxLength: number) => fc.uint8Array({ maxLength }).map((array) => Buffer.from(array));
const type = fc.integer({ min: 0, max: 0x3fff });
/** As the decoders make them, for deepEqual. */
const PLAIN = { noNullPrototype: true };
const u32 = fc.integer({ min: 0, max: 0xffffffff });

/** Whatever comes in, it is read or refused with an error of ours, and soon. */
function readsOrRefuses(read: () => unknown): void {
  try {
    read();
  } catch (error) {
    assert.ok(error instanceof HoldfastError, String(error));
  }
}

t.test('attributes', async (t) => {
  holds(
    t,
    'any list is read as it was written, also inside another',
    fc.property(type, fc.array(fc.record({ type, value: bytes(70) }, PLAIN), { maxLength: 12 }), (outer, list) => {
      const encoded = list.map((one) => attribute(one.type, one.value));
      assert.deepEqual(decodeAttributes(Buffer.concat(encoded)), list);
      const [nested, ...others] = decodeAttributes(nestedAttribute(outer, ...encoded));
      assert.equal(others.length, 0);
      assert.equal(nested?.type, outer);
      assert.deepEqual(decodeAttributes(nested.value), list);
    }),
    500,
  );
  holds(
    t,
    'bytes that are none are refused',
    fc.property(bytes(64), (hostile) => {
      readsOrRefuses(() => decodeAttributes(hostile));
      readsOrRefuses(() => new Attributes(hostile).nested(1).nested(2).u32(3));
    }),
    2000,
  );
  holds(
    t,
    'cut off anywhere they are read up to there or refused',
    fc.property(fc.array(bytes(20), { minLength: 1, maxLength: 6 }), fc.nat(), (values, cut) => {
      const whole = Buffer.concat(values.map((value) => attribute(1, value)));
      readsOrRefuses(() => decodeAttributes(whole.subarray(0, cut % whole.length)));
    }),
    500,
  );

  const attributes = new Attributes(
    Buffer.concat([
      u8Attribute(1, 200),
      u32Attribute(2, 0xfedcba98),
      textAttribute(3, 'eth0'),
      textAttribute(3, 'eth1'),
    ]),
  );
  t.equal(attributes.u8(1), 200);
  t.equal(attributes.u32(2), 0xfedcba98);
  t.equal(attributes.text(3), 'eth1', 'the last one counts');
  t.equal(attributes.u32(9), undefined);
  t.equal(attributes.nested(9).text(1), undefined);
  t.throws(() => attributes.u32(1), { code: 'HOST_FAILURE' });
  t.throws(() => attribute(1, Buffer.alloc(65_532)), { code: 'BUG' });
});

t.test('messages', async (t) => {
  const message = fc.record(
    {
      type: fc.integer({ min: 0, max: 0xffff }),
      flags: fc.integer({ min: 0, max: 0xffff }),
      sequence: u32,
      payload: bytes(60),
    },
    PLAIN,
  );
  holds(
    t,
    'any number in one buffer is read as it was written',
    fc.property(fc.array(message, { maxLength: 8 }), (messages) => {
      assert.deepEqual(decodeMessages(Buffer.concat(messages.map(encodeMessage))), messages);
    }),
    500,
  );
  holds(
    t,
    'bytes that are none are refused',
    fc.property(bytes(80), (hostile) => readsOrRefuses(() => decodeMessages(hostile).map(decodeOutcome))),
    2000,
  );
  holds(
    t,
    'acknowledgements with any content are read or refused',
    fc.property(fc.constantFrom(NLMSG_ERROR, NLMSG_DONE), message, (kind, hostile) =>
      readsOrRefuses(() => decodeOutcome({ ...hostile, type: kind })),
    ),
    2000,
  );
});

t.test(
  'an acknowledgement has the error and the explanation, with and without the request that it is about',
  async (t) => {
    const error = Buffer.alloc(4);
    error.writeInt32LE(-17);
    const request = encodeMessage({ type: 16, flags: 5, sequence: 7, payload: Buffer.alloc(13) });
    const explanation = textAttribute(1, 'already there');
    const outcomeOf = (flags: number, ...parts: readonly Buffer[]) =>
      decodeOutcome({ type: NLMSG_ERROR, flags, sequence: 7, payload: Buffer.concat(parts) });
    t.strictSame(outcomeOf(0, error, request), { errno: 17, explanation: undefined });
    t.strictSame(outcomeOf(0x200, error, request, explanation), { errno: 17, explanation: 'already there' });
    t.strictSame(outcomeOf(0x300, error, request.subarray(0, 16), explanation), {
      errno: 17,
      explanation: 'already there',
    });
    t.strictSame(outcomeOf(0x100, Buffer.alloc(4), request.subarray(0, 16)), { errno: 0, explanation: undefined });
    t.strictSame(
      decodeOutcome({ type: NLMSG_DONE, flags: 0, sequence: 7, payload: error }).errno,
      17,
      'a listing can fail',
    );
    t.throws(() => outcomeOf(0, error), { code: 'HOST_FAILURE' });
    t.match(describeErrno(17), /\(EEXIST\)$/);
    t.equal(describeErrno(9999), 'error 9999');
  },
);
