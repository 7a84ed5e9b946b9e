// Durations, both ways.
import fc from 'fast-check';
import t from 'tap';
import { formatDuration, milliseconds, parseDuration } from '../../../agent/config/duration.ts';
import { HoldfastError } from '../../../lib/errors.ts';

t.test('known durations', async (t) => {
  const known: Readonly<Record<string, number>> = {
    '0s': 0,
    '500ms': 500,
    '10s': 10_000,
    '5m': 300_000,
    '1h30m': 5_400_000,
    '7d': 604_800_000,
    '1d2h3m4s5ms': 93_784_005,
  };
  for (const [text, value] of Object.entries(known)) {
    t.equal(parseDuration(text), value, text);
    t.equal(formatDuration(milliseconds(value)), text, text);
  }
});

t.test('what is no duration is refused', async (t) => {
  for (const text of ['', '5', 's', '-5s', '1.5h', '5 m', '5m1h', '1w', '999999999d']) {
    t.throws(() => parseDuration(text), { code: 'INVALID_REQUEST' }, JSON.stringify(text));
  }
});

t.test('formatting and parsing give the same number; any text is one or refused', async () => {
  fc.assert(fc.property(fc.nat(10 ** 12), (value) => parseDuration(formatDuration(milliseconds(value))) === value));
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[0-9dhms]{0,8}$/)), (text) => {
      try {
        return Number.isSafeInteger(parseDuration(text));
      } catch (error) {
        return error instanceof HoldfastError && error.code === 'INVALID_REQUEST';
      }
    }),
  );
});
