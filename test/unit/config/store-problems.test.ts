// A store that hosts could not share safely is refused with the configuration.
import t from 'tap';
import { agentConfigSchema } from '../../../agent/config/schema.ts';
import { storeProblems } from '../../../agent/config/store-problems.ts';

type Plain = Readonly<Record<string, unknown>>;

const parse = (store: unknown) =>
  agentConfigSchema.safeParse({
    apiVersion: 'holdfast.dev/v1',
    kind: 'AgentConfig',
    nodeName: 'n',
    network: { store },
  });
const TLS = { ca: '/ca', certificate: '/crt', key: '/key' };

function problems(etcd: Plain): readonly string[] {
  const { data } = parse({ etcd });
  if (data === undefined) throw new Error('it is not even read');
  return storeProblems(data.network.store);
}

t.test('a store of one host, and one of several', async (t) => {
  t.strictSame(storeProblems(parse(undefined).data?.network.store ?? 'embedded'), []);
  t.equal(parse(undefined).data?.network.store, 'embedded');
  t.strictSame(problems({ endpoints: ['https://192.0.2.1:2379', 'https://etcd:2379'], tls: TLS }), []);
  t.strictSame(problems({ endpoints: ['http://[2001:db8::1]:2379'] }), []);
  t.match(parse({ etcd: { endpoints: ['http://a:1'] } }).data?.network.store, {
    etcd: { leaseTtl: 30_000, fencingDelay: 10_000, prefix: '/holdfast/' },
  });
});

t.test('what cannot be read', async (t) => {
  for (const etcd of [
    {},
    { endpoints: [] },
    { endpoints: ['192.0.2.1:2379'] },
    { endpoints: ['ftp://a:1'] },
    { endpoints: ['http://a:1/path'] },
    { endpoints: ['http://a:1'], prefix: 'holdfast' },
    { endpoints: ['http://a:1'], prefix: '/' },
    { endpoints: ['http://a:1'], other: 1 },
  ]) {
    t.notOk(parse({ etcd }).success, JSON.stringify(etcd));
  }
  t.notOk(parse('memory').success);
});

const refused: readonly (readonly [string, Plain, RegExp])[] = [
  ['https without certificates', { endpoints: ['https://a:1'] }, /tls: .* need ca/],
  ['certificates without https', { endpoints: ['http://a:1'], tls: TLS }, /write https/],
  ['both kinds', { endpoints: ['http://a:1', 'https://a:1'], tls: TLS }, /all must be alike/],
  [
    'a lease that etcd would make longer',
    { endpoints: ['http://a:1'], leaseTtl: '4s', fencingDelay: '3s' },
    /leaseTtl/,
  ],
  ['a lease of a part of a second', { endpoints: ['http://a:1'], leaseTtl: '10500ms' }, /leaseTtl/],
  ['a lease without an end', { endpoints: ['http://a:1'], leaseTtl: '2h' }, /leaseTtl/],
  ['no time to take addresses down', { endpoints: ['http://a:1'], fencingDelay: '1s' }, /fencingDelay/],
  ['a delay in which a lease can come and go', { endpoints: ['http://a:1'], fencingDelay: '30s' }, /fencingDelay/],
];

for (const [what, etcd, message] of refused) {
  t.test(`${what} is refused`, async (t) => {
    const found = problems(etcd);
    t.equal(found.length, 1);
    t.match(found[0], message);
    t.ok(found[0]?.startsWith('network.store.etcd.'));
  });
}
