// Which certificates may follow on those in use.
import t from 'tap';
import { requireSuccessor } from '../../../agent/api/certificates.ts';

const NOW = new Date('2026-06-15T12:00:00Z');

/** Days from now. */
const day = (days: number): Date => new Date(NOW.getTime() + days * 86_400_000);
const valid = { subject: 'CN=valid', notBefore: day(-1), notAfter: day(1) };
const expired = { subject: 'CN=expired', notBefore: day(-3), notAfter: day(-1) };
const early = { subject: 'CN=early', notBefore: day(1), notAfter: day(3) };

t.test('a valid certificate is only followed by a valid one', (t) => {
  t.doesNotThrow(() => requireSuccessor(valid, { ...valid, subject: 'CN=next' }, NOW));
  t.throws(() => requireSuccessor(valid, expired, NOW), {
    code: 'PRECONDITION',
    message: 'the new certificate CN=expired: expired at 2026-06-14T12:00:00.000Z: clients refuse it',
  });
  t.throws(() => requireSuccessor(valid, early, NOW), {
    code: 'PRECONDITION',
    message: 'the new certificate CN=early: not valid before 2026-06-16T12:00:00.000Z',
  });
  t.end();
});

t.test('one that nobody believes is followed by any', (t) => {
  for (const used of [expired, early]) {
    for (const next of [valid, expired, early]) t.doesNotThrow(() => requireSuccessor(used, next, NOW));
  }
  t.end();
});
