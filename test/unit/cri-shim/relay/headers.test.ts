import t from 'tap';
import { endsStream, toOutgoing } from '../../../../cri-shim/relay/headers.ts';

t.test('repeated headers stay apart and in order', async (t) => {
  const raw = ['grpc-status', '0', 'x', '1', 'y-bin', 'AA', 'x', '2', 'x', '3', 'y-bin', 'BB'];
  t.same(toOutgoing(raw), { 'grpc-status': '0', x: ['1', '2', '3'], 'y-bin': ['AA', 'BB'] });
});

t.test('of headers that HTTP/2 allows once, the first stands', async (t) => {
  const raw = ['content-type', 'application/grpc', 'content-type', 'text/plain', ':path', '/a', ':path', '/b'];
  t.same(toOutgoing(raw), { 'content-type': 'application/grpc', ':path': '/a' });
});

t.test('the end of the stream is read from the flags', async (t) => {
  t.equal(endsStream(5), true);
  t.equal(endsStream(4), false);
});
