// What doctor says about pools: the plugin, the agent's socket, the networks of the runtime, the host.
import t from 'tap';
import { checkCniNetworks } from '../../../../agent/cli/doctor-checks/cni-network.ts';
import { type CniPluginFacts, checkCniPlugin } from '../../../../agent/cli/doctor-checks/cni-plugin.ts';
import { checkPoolNeeds, type PoolNeeds } from '../../../../agent/cli/doctor-checks/pool-needs.ts';
import { type CniFacts, type FoundPlugin, NO_CNI } from '../../../../agent/install/cni-facts.ts';
import { PLUGIN_SCRIPT } from '../../../../agent/install/wanted-cni.ts';

const PATH = '/opt/cni/bin/holdfast';
const LAUNCHER: FoundPlugin = { kind: 'launcher', mark: 'this', mode: 0o755 };
const CNI: CniFacts = { ...NO_CNI, pools: ['pods'], otherPlugins: new Set(['loopback', 'portmap']) };

const withPlugin = (found: FoundPlugin): CniFacts => ({ ...CNI, plugins: new Map([[PATH, found]]) });

const plugin = (cni: CniFacts, facts: Partial<CniPluginFacts> = {}) =>
  checkCniPlugin({
    cni,
    launcherMark: 'this',
    versions: { value: ['1.0.0'] },
    socket: '/run/holdfast/cni.sock',
    status: new Map([['pods', { value: undefined }]]),
    ...facts,
  });

t.test('a plugin of this version that answers', (t) => {
  t.match(plugin(withPlugin(LAUNCHER)), [
    { level: 'ok', text: /the launcher of this version/ },
    { level: 'ok', subject: 'cni socket' },
  ]);
  t.match(plugin(withPlugin({ kind: 'script', text: PLUGIN_SCRIPT, mode: 0o755 })), [
    { level: 'ok', text: /Node form/ },
    {},
  ]);
  t.end();
});

t.test('no plugin, and plugins that are not what they should be', (t) => {
  const [absent] = plugin(CNI);
  t.match(absent, { level: 'failed', text: /none in \/opt\/cni\/bin/, remedy: /holdfast install/ });
  const cases: readonly (readonly [FoundPlugin, string, RegExp])[] = [
    [{ kind: 'launcher', mark: 'another', mode: 0o755 }, 'warning', /launcher of another version/],
    [{ kind: 'launcher', mark: 'this', mode: 0o644 }, 'warning', /mode 0644 instead of 0755/],
    [{ kind: 'script', text: `${PLUGIN_SCRIPT}#\n`, mode: 0o755 }, 'warning', /was changed/],
    [{ kind: 'by-hand' }, 'warning', /by hand/],
    [{ kind: 'foreign', what: 'a program' }, 'failed', /a program of somebody else's/],
  ];
  for (const [found, level, text] of cases) t.match(plugin(withPlugin(found)), [{ level, text }, {}]);
  const noexec = plugin(withPlugin(LAUNCHER), { versions: { problem: `${PATH} does not start: EACCES` } });
  t.match(noexec, [{ level: 'ok' }, { level: 'failed', text: /EACCES/, remedy: /noexec/ }, {}]);
  const problem = { ...CNI.directories, problem: 'line 3' };
  t.match(plugin({ ...CNI, directories: problem }), [{ level: 'warning', text: /line 3/ }, { level: 'failed' }, {}]);
  t.end();
});

t.test('the first of the directories that has a plugin counts', (t) => {
  const directories = { ...CNI.directories, plugins: ['/a', '/b'] };
  const plugins = new Map<string, FoundPlugin>([
    ['/a/holdfast', { kind: 'foreign', what: 'a file' }],
    ['/b/holdfast', LAUNCHER],
  ]);
  t.match(plugin({ ...CNI, directories, plugins }), [{ level: 'failed', text: /^\/a\/holdfast is/ }, {}]);
  t.end();
});

t.test('an agent that is away, and a pool that is full', (t) => {
  const [, away] = plugin(withPlugin(LAUNCHER), { status: new Map([['pods', { problem: 'no connection: ENOENT' }]]) });
  t.match(away, { level: 'failed', subject: 'cni socket', text: /ENOENT/, remedy: /restart holdfast-agent/ });
  const [, full] = plugin(withPlugin(LAUNCHER), { status: new Map([['pods', { value: 'pool pods is full' }]]) });
  t.match(full, { level: 'warning', text: /pool pods cannot serve new pods: pool pods is full/ });
  t.end();
});

const network = (name: string, plugins: readonly unknown[]) => ({
  path: `/etc/cni/net.d/${name}`,
  text: JSON.stringify({ name: 'pods', plugins }),
});
const OURS = network('10-holdfast.conflist', [{ type: 'holdfast' }, { type: 'portmap' }]);

t.test('a network that the runtime takes, of a pool that is there', (t) => {
  t.match(checkCniNetworks({ ...CNI, networks: [OURS] }), [{ level: 'ok', text: /^pods \(.*10-holdfast/ }]);
  t.match(checkCniNetworks(CNI), [{ level: 'warning', text: /no network/, remedy: /--cni-network/ }]);
  t.end();
});

t.test('networks that cannot work', (t) => {
  const check = (facts: Partial<CniFacts>) => checkCniNetworks({ ...CNI, networks: [OURS], ...facts });
  const other = network('05-other.conflist', [{ type: 'bridge' }]);
  t.match(check({ networks: [other, OURS] }), [{ level: 'warning', text: /05-other\.conflist sorts before/ }]);
  const broken = { path: '/etc/cni/net.d/00-broken.conflist', text: '{' };
  t.match(check({ networks: [broken, OURS] }), [{ level: 'warning', text: /00-broken\.conflist sorts before/ }]);
  t.match(check({ otherPlugins: new Set() }), [{ level: 'failed', text: /names portmap, which is not in/ }]);
  t.match(check({ pools: ['a', 'b'] }), [{ level: 'failed', text: /names no pool/, remedy: /a, b/ }]);
  t.match(check({ pools: ['a', 'b'], hasDefaultPool: true }), [{ level: 'ok' }]);
  const elsewhere = network('10-holdfast.conflist', [{ type: 'holdfast', pool: 'gone' }]);
  t.match(check({ networks: [elsewhere] }), [{ level: 'failed', text: /the pool gone, which .* not have/ }]);
  t.end();
});

const NEEDS: PoolNeeds = {
  pools: [{ name: 'pods', masquerade: true, hasIpv6: true }],
  needsBridge: true,
  hasNft: true,
  ipv6Disabled: false,
  modules: new Set(['veth', 'bridge', 'nf_tables', 'nft_chain_nat', 'nft_masq']),
};

t.test('what pools need of the host', (t) => {
  const needs = (facts: Partial<PoolNeeds>) => checkPoolNeeds({ ...NEEDS, ...facts });
  t.match(needs({}), [{ level: 'ok' }]);
  t.match(needs({ modules: undefined }), [{ level: 'ok' }], 'what the host does not say is not held against it');
  t.match(needs({ hasNft: false }), [
    { level: 'failed', text: /nft is not installed/, remedy: /apt install nftables/ },
  ]);
  t.match(needs({ ipv6Disabled: true }), [{ level: 'failed', text: /IPv6 is switched off/ }]);
  t.match(needs({ ipv6Disabled: undefined }), [{ level: 'failed', text: /IPv6 is not in the kernel/ }]);
  t.match(needs({ modules: new Set(['veth']) }), [
    { level: 'failed', text: /no bridge, nf_tables, nft_chain_nat, nft_masq/ },
  ]);
  const plain = [{ name: 'pods', masquerade: false, hasIpv6: false }];
  const few = { pools: plain, needsBridge: false, hasNft: false, ipv6Disabled: true, modules: new Set(['veth']) };
  t.match(needs(few), [{ level: 'ok' }], 'nothing is needed that is not used');
  t.end();
});
