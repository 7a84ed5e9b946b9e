import t from 'tap';
import { inheritedSockets } from '../../../lib/socket-activation.ts';

t.test('descriptors are counted from 3', async (t) => {
  t.same(inheritedSockets({ LISTEN_FDS: '2', LISTEN_PID: '7' }, 7), [3, 4]);
});

t.test('what is meant for another process is ignored', async (t) => {
  t.same(inheritedSockets({}, 7), []);
  t.same(inheritedSockets({ LISTEN_FDS: '1', LISTEN_PID: '8' }, 7), []);
  t.same(inheritedSockets({ LISTEN_FDS: '1' }, 7), []);
});

t.test('a count that is none is refused', async (t) => {
  t.throws(() => inheritedSockets({ LISTEN_FDS: 'all', LISTEN_PID: '7' }, 7), { code: 'INVALID_REQUEST' });
});
