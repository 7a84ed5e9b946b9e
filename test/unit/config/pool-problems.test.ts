// Pools that would fail at the first pod are refused with the configuration.
import t from 'tap';
import { poolProblems } from '../../../agent/config/pool-problems.ts';
import { agentConfigSchema } from '../../../agent/config/schema.ts';

type Plain = Readonly<Record<string, unknown>>;

function problems(pools: Readonly<Record<string, Plain>>, more: Plain = {}): readonly string[] {
  const plain = { apiVersion: 'holdfast.dev/v1', kind: 'AgentConfig', nodeName: 'n', network: { pools, ...more } };
  return poolProblems(agentConfigSchema.parse(plain).network);
}

const one = (cidr: string, more: Plain = {}): Plain => ({ subnets: [{ cidr, ...more }] });

t.test('pools that go together have no problem', async (t) => {
  const pools = {
    a: {
      subnets: [
        { cidr: '10.0.0.0/24', gateway: '10.0.0.1', ranges: ['10.0.0.10-10.0.0.20'], exclude: ['10.0.0.15'] },
        { cidr: '2001:db8::/64', gateway: '2001:db8::1' },
      ],
      routes: [{ to: '10.9.0.0/16' }, { to: '::/0', via: '2001:db8::9' }],
    },
    b: one('10.0.1.0/24'),
  };
  t.strictSame(problems(pools, { defaultPool: 'b' }), []);
  t.strictSame(problems({}), []);
});

const refused: readonly (readonly [string, Readonly<Record<string, Plain>>, RegExp])[] = [
  [
    'a range that begins before its subnet',
    { a: one('10.0.1.0/24', { ranges: ['10.0.0.9-10.0.1.9'] }) },
    /10\.0\.0\.9/,
  ],
  ['a range of another family', { a: one('10.0.1.0/24', { ranges: ['2001:db8::1'] }) }, /2001:db8::1 is not in/],
  ['an exclusion outside', { a: one('10.0.1.0/24', { exclude: ['10.0.2.1'] }) }, /10\.0\.2\.1 is not in/],
  ['a gateway outside', { a: one('10.0.1.0/24', { gateway: '10.0.2.1' }) }, /gateway 10\.0\.2\.1/],
  [
    'two pools with one subnet',
    { a: one('10.0.1.0/24'), b: one('10.0.0.0/16') },
    /in common with 10\.0\.1\.0\/24 of a/,
  ],
  ['a pool that overlaps itself', { a: { subnets: [{ cidr: '10.0.0.0/24' }, { cidr: '10.0.0.0/25' }] } }, /in common/],
  ['multicast', { a: one('224.0.1.0/24') }, /multicast/],
  ['loopback', { a: one('127.0.5.0/24') }, /loopback/],
  ['everything', { a: one('0.0.0.0/0') }, /cannot be pods'/],
  ['link-local', { a: one('fe80::/64') }, /link-local/],
  ['IPv4 in IPv6', { a: one('::/64') }, /reserved/],
  ['a route without an address to use it', { a: { ...one('10.0.0.0/24'), routes: [{ to: '::/0' }] } }, /needs an IPv6/],
  [
    'a way of another family',
    { a: { ...one('10.0.0.0/24'), routes: [{ to: '10.9.0.0/16', via: 'fd00::1' }] } },
    /cannot be the way/,
  ],
  [
    'two ways to one destination',
    { a: { ...one('10.0.0.0/24'), routes: [{ to: '10.9.0.0/16' }, { to: '10.9.0.0/16', via: '10.0.0.9' }] } },
    /two routes to 10\.9\.0\.0\/16/,
  ],
];

for (const [what, pools, expected] of refused) {
  t.test(`refused: ${what}`, async (t) => {
    const found = problems(pools);
    t.ok(found.length > 0 && found.every((each) => each.startsWith('network.pools.')), found.join('\n'));
    t.match(found.join('\n'), expected);
  });
}

t.test('a default pool has to be one, also with a name that every object has', async (t) => {
  t.match(problems({ a: one('10.0.0.0/24') }, { defaultPool: 'b' }), [/defaultPool/]);
  t.match(problems({ a: one('10.0.0.0/24') }, { defaultPool: 'constructor' }), [/defaultPool/]);
});
