import fc from 'fast-check';
import t from 'tap';
import { formatGrpcTimeout, parseGrpcTimeout } from '../../../../cri-shim/grpc/timeout.ts';

t.test('each unit is read', async (t) => {
  t.equal(parseGrpcTimeout('2H'), 7_200_000);
  t.equal(parseGrpcTimeout('3M'), 180_000);
  t.equal(parseGrpcTimeout('4S'), 4000);
  t.equal(parseGrpcTimeout('5m'), 5);
  t.equal(parseGrpcTimeout('1500u'), 1.5);
  t.equal(parseGrpcTimeout('500000n'), 0.5);
});

t.test('what is not a timeout is left to the upstream', async (t) => {
  for (const text of [undefined, '', '5', 'm', '-1S', '1.5S', '123456789m', '5x', ' 5m']) {
    t.equal(parseGrpcTimeout(text), undefined, String(text));
  }
});

t.test('what is written is read back, never longer than it was', async (t) => {
  fc.assert(
    fc.property(fc.double({ min: 0, max: 1e10, noNaN: true }), (ms) => {
      const text = formatGrpcTimeout(ms);
      const back = parseGrpcTimeout(text);
      return back !== undefined && back <= ms && ms - back <= Math.max(0.001, ms < 99_999_999 ? 1 : 1000);
    }),
  );
  t.equal(formatGrpcTimeout(-5), '0u');
});
