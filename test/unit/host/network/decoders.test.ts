// Whatever stands in a message, it is read or refused.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { attribute } from '../../../../agent/host/netlink/attributes.ts';
import { decodeAddress } from '../../../../agent/host/network/messages/address.ts';
import { decodeLink } from '../../../../agent/host/network/messages/link.ts';
import { decodeRoute, decodeRule } from '../../../../agent/host/network/messages/route.ts';
import { HoldfastError } from '../../../../lib/errors.ts';
import { holds } from '../../../support/properties.ts';

const DECODERS = {
  link: decodeLink,
  address: decodeAddress,
  rule: decodeRule,
  route: (message: Parameters<typeof decodeRoute>[1]) => decodeRoute(4, message),
};

t.test('hostile messages', async (t) => {
  const bytes = (maxLength: number) => fc.uint8Array({ maxLength }).map((array) => Buffer.from(array));
  // Half of them have attributes that are well-formed outside and anything inside.
  const attributes = fc
    .array(fc.record({ type: fc.integer({ min: 0, max: 30 }), value: bytes(24) }), { maxLength: 10 })
    .map((list) => Buffer.concat(list.map(({ type, value }) => attribute(type, value))));
  const payload = fc.oneof(
    bytes(80),
    fc
      .tuple(fc.constantFrom(8, 12, 16), attributes)
      .map(([length, rest]) => Buffer.concat([Buffer.alloc(length, 2), rest])),
  );
  for (const [name, decode] of Object.entries(DECODERS)) {
    holds(
      t,
      name,
      fc.property(payload, (hostile) => {
        try {
          decode({ type: 0, flags: 0, sequence: 0, payload: hostile });
        } catch (error) {
          assert.ok(error instanceof HoldfastError, String(error));
        }
      }),
      1000,
    );
  }
});
