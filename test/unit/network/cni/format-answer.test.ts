// Results and errors in the shape of each version.
import t from 'tap';
import { CniError } from '../../../../agent/network/cni/cni-error.ts';
import { formatAttached, formatError } from '../../../../agent/network/cni/format-answer.ts';
import { HoldfastError } from '../../../../lib/errors.ts';
import { assertCniAnswer } from '../../../support/cni-json.ts';
import { ATTACHED } from '../../../support/recording-cni-handler.ts';

const parsed = (text: string): unknown => JSON.parse(text);

t.test('0.4.0: each address says its version, and interfaces have no MTU', async (t) => {
  t.strictSame(parsed(formatAttached('0.4.0', ATTACHED)), {
    cniVersion: '0.4.0',
    interfaces: [
      { name: 'hf0123456789', mac: '0a:58:0a:01:00:01' },
      { name: 'eth0', mac: '0a:58:0a:01:00:02', sandbox: '/run/netns/blue' },
    ],
    ips: [
      { version: '4', address: '10.1.0.5/16', gateway: '10.1.0.1', interface: 1 },
      { version: '6', address: 'fd00::5/64', interface: 1 },
    ],
    routes: [{ dst: '0.0.0.0/0', gw: '10.1.0.1' }, { dst: '::/0' }],
    dns: { nameservers: ['10.1.0.53'] },
  });
});

t.test('1.0.0 and 1.1.0: addresses have no version; the MTU came with 1.1.0', async (t) => {
  const ips = [
    { address: '10.1.0.5/16', gateway: '10.1.0.1', interface: 1 },
    { address: 'fd00::5/64', interface: 1 },
  ];
  t.match(parsed(formatAttached('1.0.0', ATTACHED)), { cniVersion: '1.0.0', ips });
  t.notMatch(formatAttached('1.0.0', ATTACHED), /mtu|version"/);
  t.match(parsed(formatAttached('1.1.0', ATTACHED)), {
    cniVersion: '1.1.0',
    interfaces: [{ mtu: 1500 }, { mtu: 1500 }],
  });
});

t.test("an IPAM plugin's result has no interfaces", async (t) => {
  const { addresses, routes } = ATTACHED;
  for (const version of ['0.4.0', '1.0.0', '1.1.0'] as const) {
    const stdout = formatAttached(version, { interfaces: [], addresses, routes, dns: {} });
    assertCniAnswer({ exitStatus: 0, stdout }, 'ADD', version);
    t.notMatch(stdout, /interface|dns/);
  }
});

t.test("an error has CNI's code, our own code in front of the message, and the cause as its details", async (t) => {
  const cause = new Error('first\nsecond', { cause: new Error('third') });
  t.strictSame(parsed(formatError('1.0.0', new HoldfastError('NO_ROOM', 'pool a is full', { cause }))), {
    cniVersion: '1.0.0',
    code: 50,
    msg: 'holdfast NO_ROOM: pool a is full',
    details: 'first second: third',
  });
  const wrong = new CniError(4, 'INVALID_REQUEST', 'CNI_IFNAME is missing');
  t.strictSame(parsed(formatError('1.1.0', wrong)), {
    cniVersion: '1.1.0',
    code: 4,
    msg: 'holdfast INVALID_REQUEST: CNI_IFNAME is missing',
  });
  t.match(parsed(formatError('1.1.0', new TypeError('x is undefined'))), { code: 103, details: 'x is undefined' });
  t.match(parsed(formatError('1.1.0', 'thrown')), { code: 103, details: 'thrown' });
  t.match(parsed(formatError('1.1.0', 'why: ')), { details: 'why:' }, 'gRPC loses what ends with a space');
});

t.test('errors are not longer than a runtime can show', async (t) => {
  const error = new HoldfastError('HOST_FAILURE', '\u{1F600}'.repeat(100_000), { cause: 'x'.repeat(100_000) });
  const text = formatError('1.1.0', error);
  t.ok(text.length < 20_000);
  assertCniAnswer({ exitStatus: 1, stdout: text }, 'ADD', '1.1.0');
});
