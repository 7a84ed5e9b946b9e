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

t.test('headers about the connection stay on it', async (t) => {
  const raw = [
    'connection',
    'close',
    'http2-settings',
    'AAMAAABk',
    'te',
    'trailers',
    'te',
    'gzip',
    'upgrade',
    'h2c',
    'x',
    '1',
  ];
  t.same(toOutgoing(raw), { te: 'trailers', x: '1' });
});

t.test('no name is special to JavaScript', async (t) => {
  const headers = toOutgoing(['constructor', 'a', '__proto__', 'b', '__proto__', 'c', 'tostring', 'd']);
  t.same(Object.entries(headers), [
    ['constructor', 'a'],
    ['__proto__', ['b', 'c']],
    ['tostring', 'd'],
  ]);
});

t.test('the end of the stream is read from the flags', async (t) => {
  t.equal(endsStream(5), true);
  t.equal(endsStream(4), false);
});
