// The rules for masquerading as the real nft lists them, in a namespace of its own: in force once, seen to be so, put back
// when somebody changes them, and gone when nobody wants them.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import t from 'tap';
import {
  isInForce,
  type MasqueradedPool,
  planMasquerade,
  TABLE,
} from '../../../../agent/host/network/plan-masquerade.ts';
import { parseSubnet } from '../../../../agent/model/address.ts';
import { makeNamespace, NO_NFT, type TestNamespace } from '../../../support/network-namespaces.ts';

const poolOf = (name: string, ...cidrs: readonly string[]): MasqueradedPool => ({
  name,
  subnets: cidrs.map(parseSubnet),
});

/** As ensureMasquerade asks for it. */
async function listing(namespace: TestNamespace): Promise<string> {
  const tables = await namespace.run('nft', 'list', 'tables');
  return tables.includes(`inet ${TABLE}`) ? await namespace.run('nft', '-s', 'list', 'table', 'inet', TABLE) : '';
}

t.test('masquerading', { skip: NO_NFT }, async (t) => {
  const namespace = await makeNamespace(t, 'nft');
  const directory = await mkdtemp(path.join(os.tmpdir(), 'holdfast-nft-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const put = async (text: string): Promise<void> => {
    const file = path.join(directory, 'rules');
    await writeFile(file, text);
    await namespace.run('nft', '-f', file);
  };
  const many = Array.from({ length: 64 }, (_, n) => `10.${n}.0.0/17`);
  const cases: readonly (readonly [string, readonly MasqueradedPool[]])[] = [
    ['one subnet', [poolOf('default', '10.77.0.0/16')]],
    ['both families', [poolOf('default', '10.77.0.0/16', '2001:db8::/64')]],
    ['neighbouring subnets', [poolOf('default', '10.0.0.0/24', '10.0.1.0/24', '10.0.2.0/23')]],
    ['single addresses', [poolOf('one', '10.0.0.1/32', '2001:db8::1/128')]],
    ['two pools', [poolOf('a', '10.0.0.0/24'), poolOf('b', '10.0.1.0/24', 'fd00:1::/64')]],
    ['as many subnets as a pool has', [poolOf('many', ...many)]],
    ['a long name', [poolOf('x'.repeat(63), '10.0.0.0/24')]],
  ];
  for (const [what, pools] of cases) {
    await t.test(`${what}: in force once they are put, and again when put again`, async (t) => {
      const ruleset = planMasquerade(pools);
      t.notOk(isInForce(ruleset, await listing(namespace)), 'not before');
      await put(ruleset.text);
      t.ok(isInForce(ruleset, await listing(namespace)), await listing(namespace));
      await put(ruleset.text);
      t.ok(isInForce(ruleset, await listing(namespace)));
    });
  }
  const ruleset = planMasquerade([poolOf('default', '10.77.0.0/16', '2001:db8::/64')]);
  const chain = ['inet', TABLE, ruleset.mark];
  const changes: readonly (readonly [string, readonly string[]])[] = [
    ['a rule is removed', ['flush', 'chain', ...chain]],
    ['a rule is added', ['add', 'rule', ...chain, 'ip', 'saddr', '10.77.0.9', 'drop']],
    ['a rule comes before', ['insert', 'rule', ...chain, 'accept']],
    ['a chain is added', ['add', 'chain', 'inet', TABLE, 'another']],
    ['the table is removed', ['delete', 'table', 'inet', TABLE]],
  ];
  for (const [what, words] of changes) {
    await t.test(`${what}: seen`, async (t) => {
      await put(ruleset.text);
      await namespace.run('nft', ...words);
      t.notOk(isInForce(ruleset, await listing(namespace)));
    });
  }
  await t.test('no rules wanted: the table goes, and others stay', async (t) => {
    await namespace.run('nft', 'add', 'table', 'inet', 'others');
    await put(ruleset.text);
    const none = planMasquerade([]);
    t.notOk(isInForce(none, await listing(namespace)));
    await put(none.text);
    t.ok(isInForce(none, await listing(namespace)));
    t.equal((await namespace.run('nft', 'list', 'tables')).trim(), 'table inet others');
  });
});
