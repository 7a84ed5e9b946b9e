import t from 'tap';
import { notifyAddress, watchdogIntervalMs } from '../../../lib/systemd-notify.ts';

t.test('pings come twice within the time that systemd waits', async (t) => {
  t.equal(watchdogIntervalMs({ WATCHDOG_USEC: '30000000' }, 7), 15_000);
  t.equal(watchdogIntervalMs({ WATCHDOG_USEC: '30000000', WATCHDOG_PID: '7' }, 7), 15_000);
  t.equal(watchdogIntervalMs({ WATCHDOG_USEC: '1' }, 7), 1);
});

t.test('another process or no number is not watched', async (t) => {
  for (const env of [{}, { WATCHDOG_USEC: '0' }, { WATCHDOG_USEC: 'x' }, { WATCHDOG_USEC: '9', WATCHDOG_PID: '8' }]) {
    t.equal(watchdogIntervalMs(env, 7), undefined);
  }
});

t.test('addresses are those of unix(7)', async (t) => {
  t.same(notifyAddress('/run/n'), Buffer.from('\u0001\0/run/n\0', 'latin1'));
  t.same(notifyAddress('@n'), Buffer.from('\u0001\0\0n', 'latin1'));
  t.throws(() => notifyAddress('vsock:2:1234'), { code: 'UNSUPPORTED' });
});
