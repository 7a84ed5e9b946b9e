// Kubernetes quantities: known values, exact arithmetic, and nothing that crashes.
import fc from 'fast-check';
import t from 'tap';
import { formatQuantity, parseBytes, parseMilliCpu } from '../../../agent/model/parse-quantity.ts';
import { bytes } from '../../../agent/model/quantity.ts';
import { HoldfastError } from '../../../lib/errors.ts';

t.test('memory', async (t) => {
  const known: Readonly<Record<string, number>> = {
    '0': 0,
    '128974848': 128974848,
    '129e6': 129e6,
    '129M': 129e6,
    '123Mi': 123 * 1024 ** 2,
    '1.5Gi': 1.5 * 1024 ** 3,
    '1e3': 1000,
    '1E3': 1000,
    '1E': 1e18 > Number.MAX_SAFE_INTEGER ? -1 : 1e18,
    '.5Ki': 512,
    '5.': 5,
    '+1k': 1000,
    '100m': 1,
    '0.1': 1,
    '1000e-3': 1,
  };
  for (const [text, value] of Object.entries(known)) {
    if (value < 0) t.throws(() => parseBytes(text), { code: 'INVALID_REQUEST' }, text);
    else t.equal(parseBytes(text), value, text);
  }
});

t.test('CPU', async (t) => {
  const known: Readonly<Record<string, number>> = { '1': 1000, '1.5': 1500, '100m': 100, '0.1': 100, '1e1': 10_000 };
  for (const [text, value] of Object.entries(known)) t.equal(parseMilliCpu(text), value, text);
  t.equal(parseMilliCpu('0.0001'), 1, 'rounded up, as the API server does');
  t.equal(parseMilliCpu('500u'), 1);
  t.equal(parseMilliCpu('2k'), 2_000_000);
});

t.test('what is no quantity is refused', async (t) => {
  for (const text of ['', ' ', '-1', '1 Gi', '1Gb', 'Gi', '.', '1e', '1e999', '0x10', '1,5', 'NaN', '9'.repeat(21)]) {
    t.throws(() => parseBytes(text), { code: 'INVALID_REQUEST' }, JSON.stringify(text));
  }
});

t.test('formatting and parsing give the same number', async () => {
  fc.assert(fc.property(fc.maxSafeNat(), (value) => parseBytes(formatQuantity(bytes(value))) === value));
});

t.test('any text is a number or an INVALID_REQUEST', async () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[0-9.eE+\-kMGi]{0,12}$/)), (text) => {
      try {
        return Number.isSafeInteger(parseBytes(text));
      } catch (error) {
        return error instanceof HoldfastError && error.code === 'INVALID_REQUEST';
      }
    }),
  );
});
