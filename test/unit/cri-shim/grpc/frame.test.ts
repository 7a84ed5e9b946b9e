import fc from 'fast-check';
import t from 'tap';
import { encodeFrame, UnaryMessageCollector } from '../../../../cri-shim/grpc/frame.ts';
import { HoldfastError } from '../../../../lib/errors.ts';

const LIMIT = 4096;

/** Cuts the bytes at the given places. */
function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const sorted = [...new Set(places.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b);
  return [...sorted, bytes.length].map((end, index) => bytes.subarray(sorted[index - 1] ?? 0, end));
}

function collect(chunks: readonly Buffer[]) {
  const collector = new UnaryMessageCollector(LIMIT);
  for (const chunk of chunks) collector.push(chunk);
  return collector.end();
}

t.test('a message is put together however its bytes were cut', async (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.array(fc.nat()), (message, places) => {
      const frame = encodeFrame(message);
      const collected = collect(cut(frame, places));
      return !collected.compressed && collected.bytes.equals(message) && collected.frame.equals(frame);
    }),
  );
  t.pass('property holds');
});

t.test('arbitrary bytes are either one message or an error with a code', async (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), fc.array(fc.nat()), (bytes, places) => {
      const whole = Buffer.from(bytes);
      try {
        const { bytes: message } = collect(cut(whole, places));
        return message.length + 5 === whole.length && whole.readUInt32BE(1) === message.length;
      } catch (error) {
        return error instanceof HoldfastError && (error.code === 'INVALID_REQUEST' || error.code === 'NO_ROOM');
      }
    }),
    { numRuns: 500 },
  );
  t.pass('property holds');
});

t.test('what is not exactly one message is refused', async (t) => {
  const frame = encodeFrame(Buffer.from('abc'));
  t.throws(() => collect([]), { code: 'INVALID_REQUEST' }, 'nothing');
  t.throws(() => collect([frame.subarray(0, 4)]), { code: 'INVALID_REQUEST' }, 'half a header');
  t.throws(() => collect([frame.subarray(0, 7)]), { code: 'INVALID_REQUEST' }, 'half a message');
  t.throws(() => collect([frame, frame]), { code: 'INVALID_REQUEST' }, 'two messages');
  t.throws(() => collect([Buffer.from([2, 0, 0, 0, 0])]), { code: 'INVALID_REQUEST' }, 'unknown flags');
});

t.test('a message over the limit is refused when it is announced', async (t) => {
  const header = Buffer.from([0, 0xff, 0xff, 0xff, 0xff]);
  t.throws(() => new UnaryMessageCollector(LIMIT).push(header), { code: 'NO_ROOM' });
  t.equal(collect([encodeFrame(Buffer.alloc(LIMIT))]).bytes.length, LIMIT, 'the limit itself is allowed');
});
