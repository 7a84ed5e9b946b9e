import t from 'tap';
import { parseOptions } from '../../../cri-shim/options.ts';

t.test('defaults are the names of the design', async (t) => {
  t.same(parseOptions([]), {
    listen: '/run/holdfast/cri.sock',
    upstream: '/run/containerd/containerd.sock',
    agent: '/run/holdfast/agent.sock',
    runDirectory: '/run/holdfast',
  });
});

t.test('paths may be written as the kubelet writes them', async (t) => {
  t.match(parseOptions(['--upstream', 'unix:///run/a.sock', '--listen=/b.sock']), {
    upstream: '/run/a.sock',
    listen: '/b.sock',
  });
});

t.test('wrong flags are refused with their name', async (t) => {
  t.throws(() => parseOptions(['--upsteam', '/a']), { code: 'INVALID_REQUEST', message: /--upsteam/ });
  t.throws(() => parseOptions(['extra']), { code: 'INVALID_REQUEST', message: /extra/ });
  t.throws(() => parseOptions(['--agent']), { code: 'INVALID_REQUEST', message: /agent/ });
  t.throws(() => parseOptions(['--agent', 'agent.sock']), { code: 'INVALID_REQUEST', message: /absolute/ });
  t.throws(() => parseOptions(['--agent', 'tcp://1.2.3.4']), { code: 'INVALID_REQUEST', message: /absolute/ });
  t.throws(() => parseOptions(['--listen', `/${'x'.repeat(110)}`]), { code: 'INVALID_REQUEST', message: /107/ });
  t.throws(() => parseOptions(['--listen', '/a', '--upstream', '/a']), { message: /circles/ });
});

t.test('help wins', async (t) => {
  t.equal(parseOptions(['--help']), 'help');
});
