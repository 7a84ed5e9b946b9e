import fc from 'fast-check';
import t from 'tap';
import { decodeStatusMessage, encodeStatusMessage } from '../../../../cri-shim/grpc/status-message.ts';

t.test('any text survives, and only printable ASCII is sent', async (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      const text = Buffer.from(bytes).toString('utf8');
      const header = encodeStatusMessage(text);
      return /^(?:[!-~](?:[ -~]*[!-~])?)?$/.test(header) && decodeStatusMessage(header) === text;
    }),
  );
  t.equal(encodeStatusMessage('50% é\n'), '50%25 %C3%A9%0A');
  t.equal(encodeStatusMessage(' a b '), '%20a b%20', 'HTTP/2 would lose the whole of it');
});

t.test('a header that is not encoded stays as it is', async (t) => {
  t.equal(decodeStatusMessage('100% sure'), '100% sure');
});

t.test('long texts are cut to what a header block can hold', async (t) => {
  t.equal(encodeStatusMessage('x'.repeat(100_000)).length, 8192);
});
