// The plugin called directly in both of its forms: every command in every version and mode, with what the kernel and the
// agent's records show after it.
import t, { type Test } from 'tap';
import type { Executable } from '../../component/cni-plugin/executables.ts';
import { NEEDS_ROOT, settles } from '../lifecycle/harness.ts';
import {
  addressesIn,
  aliasOnHost,
  assertNothingLeft,
  type DirectNode,
  linkIn,
  linkOnHost,
  makeSandbox,
  output,
  type Printed,
  removeAtEnd,
  routesIn,
  type Sandbox,
  startDirectNode,
  type Version,
} from './direct-node.ts';

const OCTET = process.pid % 256;
const BRIDGE = `hfd${process.pid}`;
const OTHER_BRIDGE = `hfe${process.pid}`;
const VERSIONS: readonly Version[] = ['0.4.0', '1.0.0', '1.1.0'];
const MODES = ['bridge', 'routed', 'ipam'] as const;
type Mode = (typeof MODES)[number];

const NETWORK = {
  defaultPool: 'dual',
  cooldown: '0s',
  collectAfter: '1s',
  pools: {
    dual: {
      subnets: [
        { cidr: `198.18.${OCTET}.0/24`, gateway: `198.18.${OCTET}.1` },
        { cidr: `fd00:18:${OCTET}::/64`, gateway: `fd00:18:${OCTET}::1` },
      ],
      routes: [{ to: '203.0.113.0/24' }],
    },
    tiny: { subnets: [{ cidr: `198.51.100.0/30`, gateway: '198.51.100.1' }] },
    other: { subnets: [{ cidr: `192.0.2.0/24`, gateway: '192.0.2.1' }] },
    diverted: {
      subnets: [{ cidr: `198.51.100.128/25`, gateway: '198.51.100.129' }],
      routes: [{ to: '0.0.0.0/0', via: '198.51.100.130' }],
    },
  },
};

/** A network's configuration for one mode, as it comes on standard input. */
function configOf(mode: Mode, cniVersion: Version, more: Readonly<Record<string, unknown>> = {}) {
  const common = { cniVersion, name: 'direct', ...more };
  if (mode === 'ipam') return { ...common, type: 'macvlan', master: 'eth0', ipam: { type: 'holdfast' } };
  return { ...common, type: 'holdfast', mode, ...(mode === 'bridge' ? { bridge: BRIDGE } : {}) };
}

/** What each version's result must look like, beside what the kernel shows. */
function assertShape(t: Test, version: Version, mode: Mode, { netns }: Sandbox, printed: Printed): void {
  t.equal(printed.cniVersion, version);
  const { interfaces, ips = [] } = printed;
  if (mode === 'ipam') t.notOk('interfaces' in printed, 'an IPAM plugin tells of no interfaces');
  else {
    t.strictSame(
      interfaces?.map(({ sandbox }) => sandbox),
      [undefined, netns],
      "the host's end first",
    );
    for (const each of interfaces ?? []) t.equal('mtu' in each, version === '1.1.0', 'MTUs came with 1.1.0');
  }
  t.equal(ips.length, 2);
  const families = ips.map((ip) => (ip.address.includes(':') ? '6' : '4'));
  t.strictSame(
    ips.map((ip) => ip.version),
    version === '0.4.0' ? families : [undefined, undefined],
    'the version of each address went with 1.0.0',
  );
  const on = mode === 'ipam' ? undefined : 1;
  t.strictSame(
    ips.map((ip) => ip.interface),
    [on, on],
  );
}

/** The result and the kernel tell the same. */
async function assertTrue(t: Test, mode: Mode, sandbox: Sandbox, printed: Printed): Promise<void> {
  const { interfaces = [], ips = [], routes = [] } = printed;
  if (mode === 'ipam') {
    t.notOk(await linkIn(sandbox, 'eth0'), 'interfaces are the other plugin’s');
    return;
  }
  const [host, pod] = interfaces;
  const [onHost, inPod] = [await linkOnHost(host?.name ?? ''), await linkIn(sandbox, 'eth0')];
  t.equal(onHost?.mac, host?.mac);
  t.equal(inPod?.mac, pod?.mac);
  t.equal(pod?.name, 'eth0');
  if (pod?.mtu !== undefined) t.equal(inPod?.mtu, pod.mtu);
  t.strictSame(
    await addressesIn(sandbox, 'eth0'),
    ips.map(({ address }) => address),
  );
  const nextHops = { '4': '169.254.1.1', '6': 'fe80::1' };
  const told = routes.map(({ dst, gw }) => {
    const family = dst.includes(':') ? '6' : '4';
    const gateway = ips.find(({ address }) => address.includes(':') === (family === '6'))?.gateway;
    return `${dst} ${gw ?? (mode === 'routed' ? nextHops[family] : gateway)}`;
  });
  t.strictSame([...(await routesIn(sandbox))].toSorted(), told.toSorted(), 'routes');
}

/** Something that CHECK has to see. */
async function damage(mode: Mode, sandbox: Sandbox, { ips = [] }: Printed): Promise<void> {
  if (mode !== 'ipam')
    await output('ip', '-n', sandbox.name, 'address', 'delete', ips[0]?.address ?? '', 'dev', 'eth0');
}

async function lifeOf(t: Test, node: DirectNode, plugin: Executable, mode: Mode, version: Version): Promise<void> {
  const sandbox = await makeSandbox(t);
  const { containerId, netns } = sandbox;
  const config = configOf(mode, version);
  const call = { containerId, netns, ifname: 'eth0', config };
  const before = await node.call(t, plugin, { ...call, command: 'DEL' });
  t.match(before, { exitStatus: 0, stdout: '' }, 'DEL of what never was');
  const added = await node.call(t, plugin, { ...call, command: 'ADD' });
  if (!t.equal(added.exitStatus, 0, `ADD: ${added.stdout}`)) return;
  assertShape(t, version, mode, sandbox, added.printed);
  await assertTrue(t, mode, sandbox, added.printed);
  t.strictSame(
    (await node.addresses()).map(({ address }) => address),
    (added.printed.ips ?? []).map(({ address }) => address.replace(/\/.*/, '')),
    'the records tell the same',
  );
  const withResult = { ...config, prevResult: added.printed };
  const checked = await node.call(t, plugin, { ...call, command: 'CHECK', config: withResult });
  t.match(checked, { exitStatus: 0, stdout: '' }, `CHECK: ${checked.stdout}`);
  await damage(mode, sandbox, added.printed);
  if (mode !== 'ipam') {
    const failed = await node.call(t, plugin, { ...call, command: 'CHECK', config: withResult });
    t.match(failed, { exitStatus: 1, printed: { cniVersion: version, code: 101 } }, 'CHECK of what is damaged');
  }
  for (const again of ['once', 'twice']) {
    const removed = await node.call(t, plugin, { ...call, command: 'DEL', config: withResult });
    t.match(removed, { exitStatus: 0, stdout: '' }, `DEL, ${again}: ${removed.stdout}`);
  }
  const late = await node.call(t, plugin, { ...call, netns: undefined, command: 'DEL' });
  t.match(late, { exitStatus: 0, stdout: '' }, 'DEL without a namespace');
  const gone = await node.call(t, plugin, { ...call, command: 'CHECK', config: withResult });
  t.match(gone, { exitStatus: 1, printed: { code: 101 } }, 'CHECK of what is gone; 3 would say that no DEL is needed');
  await assertNothingLeft(t, node, [{ network: 'direct', sandbox }]);
  t.notOk(await linkIn(sandbox, 'eth0'));
}

t.test('direct calls of the plugin', { skip: NEEDS_ROOT }, async (t) => {
  const node = await startDirectNode(t, NETWORK);
  for (const bridge of [BRIDGE, OTHER_BRIDGE]) removeAtEnd(t, bridge);
  const [plugin] = node.plugins;
  if (plugin === undefined) throw new Error('the plugin is not there');

  for (const form of node.plugins) {
    for (const mode of MODES) {
      for (const version of VERSIONS) {
        await t.test(`${form.name}, ${mode}, ${version}`, (t) => lifeOf(t, node, form, mode, version));
      }
    }
  }

  for (const mode of ['bridge', 'routed'] as const) {
    await t.test(`${mode}: an interface of that name is there already`, async (t) => {
      const sandbox = await makeSandbox(t);
      await output('ip', '-n', sandbox.name, 'link', 'add', 'eth0', 'type', 'bridge');
      const config = configOf(mode, '1.0.0');
      const { exitStatus, printed } = await node.call(t, plugin, {
        command: 'ADD',
        ...sandbox,
        ifname: 'eth0',
        config,
      });
      t.equal(exitStatus, 1);
      t.match(printed.msg, /eth0 already/);
      t.strictSame(await addressesIn(sandbox, 'eth0'), [], 'nothing was put on it');
      await assertNothingLeft(t, node, [{ network: 'direct', sandbox }]);
    });

    await t.test(`${mode}: a second ADD fails and takes nothing from the first`, async (t) => {
      const sandbox = await makeSandbox(t);
      const call = { ...sandbox, ifname: 'eth0', config: configOf(mode, '1.0.0') };
      const first = await node.call(t, plugin, { ...call, command: 'ADD' });
      t.equal(first.exitStatus, 0);
      const second = await node.call(t, plugin, { ...call, command: 'ADD' });
      t.equal(second.exitStatus, 1, second.stdout);
      const held = (await node.addresses()).filter(({ state }) => state === 'held').map(({ address }) => address);
      t.strictSame(
        held,
        (first.printed.ips ?? []).map(({ address }) => address.replace(/\/.*/, '')),
        'the address is on an interface that speaks: it must be nobody else’s',
      );
      const config = { ...call.config, prevResult: first.printed };
      const checked = await node.call(t, plugin, { ...call, command: 'CHECK', config });
      t.equal(checked.exitStatus, 0, checked.stdout);
      await node.call(t, plugin, { ...call, command: 'DEL' });
      await assertNothingLeft(t, node, [{ network: 'direct', sandbox }]);
    });
  }

  for (const mode of ['bridge', 'routed'] as const) {
    await t.test(`${mode}: one sandbox in two networks`, async (t) => {
      const sandbox = await makeSandbox(t);
      const first = { ...sandbox, ifname: 'eth0', config: configOf(mode, '1.0.0') };
      const more = { name: 'second', pool: 'other', ...(mode === 'bridge' ? { bridge: OTHER_BRIDGE } : {}) };
      const second = { ...sandbox, ifname: 'net1', config: { ...configOf(mode, '1.0.0'), ...more } };
      const one = await node.call(t, plugin, { ...first, command: 'ADD' });
      t.equal(one.exitStatus, 0, one.stdout);
      const checkOne = { ...first, command: 'CHECK', config: { ...first.config, prevResult: one.printed } };
      const refused = await node.call(t, plugin, { ...second, command: 'ADD' });
      t.equal(refused.exitStatus, 1, 'a sandbox has one default route');
      t.match(refused.printed.msg, /defaultRoute/);
      t.notOk(await linkIn(sandbox, 'net1'), 'nothing of it is left');
      t.match(await node.call(t, plugin, checkOne), { exitStatus: 0, stdout: '' });
      const beside = { ...second, config: { ...second.config, defaultRoute: false } };
      const other = await node.call(t, plugin, { ...beside, command: 'ADD' });
      t.equal(other.exitStatus, 0, other.stdout);
      t.strictSame(other.printed.routes, []);
      const told = (other.printed.ips ?? []).map(({ address }) => address);
      t.strictSame(await addressesIn(sandbox, 'net1'), told);
      const checkOther = { ...beside, command: 'CHECK', config: { ...beside.config, prevResult: other.printed } };
      for (const check of [checkOne, checkOther]) {
        t.match(await node.call(t, plugin, check), { exitStatus: 0, stdout: '' }, check.ifname);
      }
      await node.call(t, plugin, { ...beside, command: 'DEL' });
      t.match(await node.call(t, plugin, checkOne), { exitStatus: 0, stdout: '' }, 'eth0 is whole without net1');
      await node.call(t, plugin, { ...first, command: 'DEL' });
      await assertNothingLeft(t, node, [
        { network: 'direct', sandbox },
        { network: 'second', ifname: 'net1', sandbox },
      ]);
    });
  }

  await t.test('a default route of the pool’s own replaces that of the gateway', async (t) => {
    const pool = { pool: 'diverted' };
    for (const mode of ['bridge', 'ipam'] as const) {
      const sandbox = await makeSandbox(t);
      const call = { ...sandbox, ifname: 'eth0', config: configOf(mode, '1.0.0', pool) };
      const { exitStatus, stdout, printed } = await node.call(t, plugin, { ...call, command: 'ADD' });
      t.equal(exitStatus, 0, stdout);
      await assertTrue(t, mode, sandbox, printed);
      t.strictSame(printed.routes, [{ dst: '0.0.0.0/0', gw: '198.51.100.130' }], 'there is one default route');
      await node.call(t, plugin, { ...call, command: 'DEL' });
      await assertNothingLeft(t, node, [{ network: 'direct', sandbox }]);
    }
  });

  await t.test('GC leaves what is valid, and nothing else of its network', async (t) => {
    const boxes = [await makeSandbox(t), await makeSandbox(t), await makeSandbox(t)];
    const [valid, lost, foreign] = boxes;
    if (valid === undefined || lost === undefined || foreign === undefined) return;
    const networkOf = (sandbox: Sandbox): string => (sandbox === foreign ? 'foreign' : 'direct');
    for (const sandbox of boxes) {
      const config = { ...configOf('bridge', '1.1.0'), name: networkOf(sandbox) };
      const added = await node.call(t, plugin, { command: 'ADD', ...sandbox, ifname: 'eth0', config });
      t.equal(added.exitStatus, 0, added.stdout);
    }
    const list = [{ containerID: valid.containerId, ifname: 'eth0' }];
    const config = { ...configOf('bridge', '1.1.0'), 'cni.dev/valid-attachments': list };
    t.match(await node.call(t, plugin, { command: 'GC', config }), { exitStatus: 0, stdout: '' });
    const holders = new Set(
      (await node.addresses()).filter(({ state }) => state === 'held').map(({ containerId }) => containerId),
    );
    t.strictSame(holders, new Set([valid.containerId, foreign.containerId]));
    const old = { ...configOf('bridge', '1.0.0'), 'cni.dev/valid-attachments': [] };
    t.match(await node.call(t, plugin, { command: 'GC', config: old }), { exitStatus: 1, printed: { code: 1 } });
    const without = configOf('bridge', '1.1.0');
    t.match(await node.call(t, plugin, { command: 'GC', config: without }), { exitStatus: 1, printed: { code: 7 } });
    t.equal(
      (await node.addresses()).filter(({ state }) => state === 'held').length,
      4,
      'a GC that was refused took nothing',
    );
    for (const name of ['direct', 'foreign']) {
      const all = { ...configOf('bridge', '1.1.0'), name, 'cni.dev/valid-attachments': [] };
      t.match(await node.call(t, plugin, { command: 'GC', config: all }), { exitStatus: 0, stdout: '' });
    }
    await assertNothingLeft(
      t,
      node,
      boxes.map((sandbox) => ({ network: networkOf(sandbox), sandbox })),
    );
  });

  await t.test('an exhausted pool', async (t) => {
    const [first, second] = [await makeSandbox(t), await makeSandbox(t)];
    const config = configOf('bridge', '1.1.0', { pool: 'tiny' });
    t.match(await node.call(t, plugin, { command: 'STATUS', config }), { exitStatus: 0, stdout: '' });
    const added = await node.call(t, plugin, { command: 'ADD', ...first, ifname: 'eth0', config });
    t.equal(added.exitStatus, 0, added.stdout);
    for (const call of [
      { command: 'STATUS', config },
      { command: 'ADD', ...second, ifname: 'eth0', config },
    ]) {
      const { exitStatus, printed } = await node.call(t, plugin, call);
      t.match({ exitStatus, printed }, { exitStatus: 1, printed: { code: 50, msg: /pool tiny has no free IPv4/ } });
    }
    const other = configOf('bridge', '1.1.0');
    t.match(
      await node.call(t, plugin, { command: 'STATUS', config: other }),
      { exitStatus: 0 },
      'the others have room',
    );
    await node.call(t, plugin, { command: 'DEL', ...first, ifname: 'eth0', config });
    t.match(await node.call(t, plugin, { command: 'STATUS', config }), { exitStatus: 0 }, 'room again');
    await assertNothingLeft(
      t,
      node,
      [first, second].map((sandbox) => ({ network: 'direct', sandbox })),
    );
  });

  await t.test('what cannot be done is refused, and nothing is left', async (t) => {
    const sandbox = await makeSandbox(t);
    const call = { ...sandbox, ifname: 'eth0' };
    const good = configOf('bridge', '1.1.0');
    const cases = [
      ['an unknown pool', { command: 'ADD', ...call, config: { ...good, pool: 'nowhere' } }, 7],
      ['STATUS of an unknown pool', { command: 'STATUS', config: { ...good, pool: 'nowhere' } }, 7],
      ['a wrong mode', { command: 'ADD', ...call, config: { ...good, mode: 'overlay' } }, 7],
      ['a bridge in routed mode', { command: 'ADD', ...call, config: { ...good, mode: 'routed' } }, 7],
      ['a namespace that is not there', { command: 'ADD', ...call, netns: '/run/netns/none', config: good }, 7],
      ['a file that is no namespace', { command: 'ADD', ...call, netns: '/etc/hostname', config: good }, 7],
      ["the host's own namespace", { command: 'ADD', ...call, netns: '/proc/1/ns/net', config: good }, 7],
      ['a name that no interface can have', { command: 'ADD', ...call, ifname: 'a/b', config: good }, 4],
      ['no container', { command: 'ADD', ...call, containerId: undefined, config: good }, 4],
      ['lo', { command: 'ADD', ...call, ifname: 'lo', config: good }, 7],
      ['an uplink that is not there', { command: 'ADD', ...call, config: { ...good, uplink: 'hfnone0' } }, 101],
      ['a version of the future', { command: 'ADD', ...call, config: { ...good, cniVersion: '2.0.0' } }, 1],
      ['an unknown command', { command: 'MEND', ...call, config: good }, 4],
    ] as const;
    for (const [what, refused, code] of cases) {
      const { exitStatus, printed, stdout } = await node.call(t, plugin, refused);
      t.match({ exitStatus, code: printed.code }, { exitStatus: 1, code }, `${what}: ${stdout}`);
    }
    for (const broken of [{ pool: 'nowhere' }, { mode: 'overlay' }, { ipam: { type: 'host-local' } }]) {
      const removed = await node.call(t, plugin, { command: 'DEL', ...call, config: { ...good, ...broken } });
      t.match(removed, { exitStatus: 0, stdout: '' }, `DEL with ${JSON.stringify(broken)}`);
    }
    await assertNothingLeft(t, node, [{ network: 'direct', sandbox }]);
  });

  await t.test('of interfaces that nobody knows of only those that this agent made are collected', async (t) => {
    const sandbox = await makeSandbox(t);
    const call = { ...sandbox, ifname: 'net1', config: configOf('bridge', '1.1.0') };
    const { printed } = await node.call(t, plugin, { ...call, command: 'ADD' });
    const [, owner = ''] = (await aliasOnHost(printed.interfaces?.[0]?.name ?? '')).split(' ');
    t.match(owner, /^[0-9a-f]{6}$/, 'who made it is noted on it');
    await node.call(t, plugin, { ...call, command: 'DEL' });
    const [stranger, others, lost] = ['hf-up', 'hf0123456780', 'hf0123456789'].map(
      (name) => `${name}${`${process.pid % 1000}`.padStart(3, '0')}`,
    ) as [string, string, string];
    const make = async (name: string, peer: string, alias: string): Promise<void> => {
      await output('ip', 'link', 'add', name, 'type', 'veth', 'peer', 'name', peer, 'netns', sandbox.name);
      removeAtEnd(t, name);
      await output('ip', 'link', 'set', 'dev', name, 'alias', alias);
    };
    await make(stranger, 'one', 'mine');
    await make(others, 'two', `holdfast ${owner === '000000' ? '111111' : '000000'}`);
    // When it is gone the others have had their time, too.
    await make(lost, 'three', `holdfast ${owner}`);
    await settles(t, `${lost} is collected`, undefined, () => linkOnHost(lost));
    for (const name of [stranger, others]) t.ok(await linkOnHost(name), name);
  });
});
