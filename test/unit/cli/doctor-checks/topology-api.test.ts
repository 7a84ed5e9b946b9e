// What doctor says about the topology service over TCP.
import t from 'tap';
import type { Certificates } from '../../../../agent/api/certificates.ts';
import { checkTopologyApi, type TopologyApiFacts } from '../../../../agent/cli/doctor-checks/topology-api.ts';

const NOW = new Date('2026-11-22T12:00:00Z');
const DAY_MS = 24 * 3_600_000;

function certificate(days: number, remarks: readonly string[] = []): Certificates {
  const notAfter = new Date(NOW.getTime() + days * DAY_MS);
  return { cert: '', key: '', ca: '', subject: 'CN=node-1', notBefore: new Date('2026-11-20'), notAfter, remarks };
}

const check = (facts: Partial<TopologyApiFacts>) =>
  checkTopologyApi({
    address: { value: { host: '0.0.0.0', port: 9570 } },
    certificates: undefined,
    now: NOW,
    ...facts,
  });

t.test('where it is served, and for whom', (t) => {
  t.match(check({ address: { value: undefined } }), [{ level: 'ok', text: 'on its unix socket alone' }]);
  t.match(check({}), [{ level: 'ok', text: /port 9570, for this host alone/ }]);
  t.match(check({ address: { problem: 'other hosts can reach it' } }), [
    { level: 'failed', remedy: /topologyApi\.tls/ },
  ]);
  t.end();
});

t.test('a certificate that clients refuse, or soon will, is a warning', (t) => {
  t.match(check({ certificates: { value: certificate(30) } }), [{ level: 'ok', text: /CN=node-1 is valid until/ }]);
  t.match(check({ certificates: { value: certificate(6) } }), [{ level: 'warning', remedy: /without a restart/ }]);
  t.match(check({ certificates: { value: certificate(-1) } }), [{ level: 'warning', text: /expired at 2026-11-21/ }]);
  const early = { ...certificate(30), notBefore: new Date('2026-11-23') };
  t.match(check({ certificates: { value: early } }), [{ level: 'warning', text: /not valid before 2026-11-23/ }]);
  t.end();
});

t.test('files that cannot be used are a failure, and a key that others can read a warning', (t) => {
  t.match(check({ certificates: { problem: '/a cannot be read' } }), [
    { level: 'failed', text: /^\/a cannot be read;/ },
  ]);
  const open = certificate(30, ['the key can be read by others']);
  t.match(check({ certificates: { value: open } }), [{ level: 'ok' }, { level: 'warning', text: /read by others/ }]);
  t.end();
});
