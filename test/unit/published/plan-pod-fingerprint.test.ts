// Fingerprints that the Go implementation gives (its testdata: compat-tiny-3pods-1ns, compat-small-10pods-3ns).
import t from 'tap';
import { podFingerprint } from '../../../agent/published/plan-pod-fingerprint.ts';

const pods = (...names: readonly string[]) =>
  names.map((each) => {
    const [namespace = '', name = ''] = each.split('/');
    return { namespace, name };
  });

const TINY = pods('production/jaeger-dpgjk', 'production/nginx-rt684', 'production/envoy-g9m22');
const SMALL = pods(
  'analytics/controller-69dkj',
  'kube-public/subscriber-tq6v7',
  'kube-public/transformer-hfbng',
  'kube-public/validator-c6pn5',
  'kube-system/proxy-wszrd',
  'middleware/processor-jkrl4',
  'network/gateway-vsll5',
  'network/importer-kzdfr',
  'network/importer-q5vt9',
  'staging/prometheus-bwgbn',
);

t.test('the fingerprints of known sets', async (t) => {
  t.equal(podFingerprint(TINY), 'pfp0v001607b76a0e9d3aeb4');
  t.equal(podFingerprint(SMALL), 'pfp0v001567144e4a561bb5a');
});

t.test('the order does not matter, and every pod does', async (t) => {
  t.equal(podFingerprint(TINY.toReversed()), podFingerprint(TINY));
  t.not(podFingerprint(TINY.slice(1)), podFingerprint(TINY));
  t.not(podFingerprint(pods('a/bc')), podFingerprint(pods('ab/c')));
});

t.test('no pod at all has one, too, of full length', async (t) => {
  t.equal(podFingerprint([]), 'pfp0v001ef46db3751d8e999');
});
