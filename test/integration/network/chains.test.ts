// Together with the plugins of the CNI project: under `bridge` and `macvlan` for addresses, and before `portmap`,
// `bandwidth` and `tuning` in a chain, called as libcni calls them.
import { spawn } from 'node:child_process';
import { access, chmod, readdir, symlink, writeFile } from 'node:fs/promises';
import net from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { Executable } from '../../component/cni-plugin/executables.ts';
import { NEEDS_ROOT, retrying } from '../lifecycle/harness.ts';
import {
  type Answer,
  addressesIn,
  assertNothingLeft,
  type Call,
  callPlugin,
  type DirectNode,
  linkIn,
  makeSandbox,
  output,
  type Printed,
  removeAtEnd,
  type Sandbox,
  startDirectNode,
} from './direct-node.ts';

const OTHER_PLUGINS = '/usr/lib/cni';
const NEEDS_PLUGINS =
  NEEDS_ROOT ||
  (await access(join(OTHER_PLUGINS, 'bridge')).then(
    () => false,
    () => `the plugins of the CNI project are not in ${OTHER_PLUGINS}`,
  ));

const OCTET = process.pid % 256;
const SUBNET = `198.18.${OCTET}`;
const BRIDGE = `hfc${process.pid}`;
const MASTER = `hm${process.pid}`;
const NETWORK = {
  defaultPool: 'pods',
  cooldown: '0s',
  collectAfter: '1m',
  pools: {
    pods: {
      subnets: [
        { cidr: `${SUBNET}.0/24`, gateway: `${SUBNET}.1` },
        { cidr: `fd00:18:${OCTET}::/64`, gateway: `fd00:18:${OCTET}::1` },
      ],
    },
    astray: {
      subnets: [{ cidr: '198.51.100.0/24', gateway: '198.51.100.1' }],
      routes: [{ to: '192.0.2.128/25', via: '192.0.2.77' }],
    },
  },
};
/** Those of Debian's plugins: they do not speak 1.1.0 yet. */
const VERSIONS = ['0.4.0', '1.0.0'] as const;

type Config = Readonly<Record<string, unknown>>;

/** A folder with our plugin and the others, as a runtime has it. */
async function pluginFolder(t: Test, { command }: Executable): Promise<string> {
  const folder = t.testdir();
  for (const name of await readdir(OTHER_PLUGINS)) await symlink(join(OTHER_PLUGINS, name), join(folder, name));
  const own = join(folder, 'holdfast');
  await writeFile(own, `#!/bin/sh\nexec ${command.join(' ')}\n`);
  await chmod(own, 0o755);
  return folder;
}

/** Calls a list of plugins as libcni does: each gets what the one before it said, and all of them the whole later. */
class Chain {
  readonly #t: Test;
  readonly #environment: Readonly<Record<string, string>>;
  readonly #folder: string;
  readonly #plugins: readonly Config[];
  readonly #call: Omit<Call, 'command' | 'config'>;
  #result: Printed | undefined;

  constructor(
    t: Test,
    { environment }: DirectNode,
    folder: string,
    { netns, containerId }: Sandbox,
    plugins: readonly Config[],
  ) {
    this.#t = t;
    this.#environment = { ...environment, CNI_PATH: folder };
    this.#folder = folder;
    this.#plugins = plugins;
    this.#call = { netns, containerId, ifname: 'eth0' };
  }

  async #one(command: string, plugin: Config): Promise<Answer> {
    const config = { ...plugin, ...(this.#result === undefined ? {} : { prevResult: this.#result }) };
    const name = String(plugin['type']);
    const executable: Executable = { name, command: [join(this.#folder, name)] };
    return await callPlugin(this.#t, executable, this.#environment, { ...this.#call, command, config });
  }

  /** @returns the answer of the plugin that failed, else of the last */
  async add(): Promise<Answer> {
    let last: Answer = { exitStatus: 0, stdout: '', printed: {} };
    for (const plugin of this.#plugins) {
      last = await this.#one('ADD', plugin);
      if (last.exitStatus !== 0) return last;
      this.#result = last.printed;
    }
    return last;
  }

  async check(isChecked: (plugin: Config) => boolean = () => true): Promise<void> {
    for (const plugin of this.#plugins.filter(isChecked)) {
      const { exitStatus, stdout } = await this.#one('CHECK', plugin);
      this.#t.match({ exitStatus, stdout }, { exitStatus: 0, stdout: '' }, `CHECK of ${String(plugin['type'])}`);
    }
  }

  async del(): Promise<void> {
    for (const plugin of this.#plugins.toReversed()) {
      const { exitStatus, stdout } = await this.#one('DEL', plugin);
      this.#t.match({ exitStatus, stdout }, { exitStatus: 0, stdout: '' }, `DEL of ${String(plugin['type'])}`);
    }
  }
}

/** What one says who connects to the port. */
async function greetingAt(host: string, port: number): Promise<string> {
  const socket = net.connect({ host, port, timeout: 5000 });
  socket.on('timeout', () => socket.destroy(new Error(`nobody answers at ${host}:${port}`)));
  let text = '';
  for await (const chunk of socket as AsyncIterable<Buffer>) text += chunk.toString();
  if (text === '') throw new Error(`${host}:${port} says nothing`);
  return text.trim();
}

async function hasIptables(t: Test): Promise<boolean> {
  return await output('iptables', '-t', 'nat', '-S').then(
    () => true,
    (error: unknown) => {
      t.comment(`SKIP: portmap: iptables cannot be used: ${String(error)}`);
      return false;
    },
  );
}

/** The rules that portmap keeps for every pod to come. */
async function hostPortRules(program: string): Promise<readonly string[]> {
  return (await output(program, '-t', 'nat', '-S')).split('\n').filter((rule) => rule.includes('CNI-HOSTPORT-'));
}

/** Takes them away at the end, where there were none before and no other pod has ports of the host by then. */
async function removeHostPortRulesAtEnd(t: Test): Promise<void> {
  for (const program of ['iptables', 'ip6tables']) {
    if ((await hostPortRules(program)).length > 0) continue;
    t.teardown(async () => {
      if ((await output(program, '-t', 'nat', '-S')).includes('CNI-DN-')) return;
      const rules = await hostPortRules(program);
      const added = rules.filter((rule) => rule.startsWith('-A'));
      const chains = rules.filter((rule) => rule.startsWith('-N'));
      for (const rule of [
        ...added.map((each) => `-D${each.slice(2)}`),
        ...chains.map((each) => `-X${each.slice(2)}`),
      ]) {
        const words = [...rule.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, word]) => quoted ?? word ?? '');
        await output(program, '-t', 'nat', ...words);
      }
    });
  }
}

t.test('with other plugins', { skip: NEEDS_PLUGINS }, async (t) => {
  if (await hasIptables(t)) await removeHostPortRulesAtEnd(t);
  const node = await startDirectNode(t, NETWORK);
  removeAtEnd(t, BRIDGE);
  await output('ip', 'link', 'add', MASTER, 'up', 'type', 'veth', 'peer', 'name', `${MASTER}p`);
  removeAtEnd(t, MASTER);
  await output('ip', 'link', 'set', `${MASTER}p`, 'up');

  const outer = [
    { type: 'bridge', bridge: BRIDGE, isGateway: true },
    { type: 'macvlan', master: MASTER, mode: 'bridge' },
  ];
  for (const form of node.plugins) {
    for (const plugin of outer) {
      for (const cniVersion of VERSIONS) {
        await t.test(`${plugin.type} takes addresses from ${form.name}, ${cniVersion}`, async (t) => {
          const folder = await pluginFolder(t, form);
          const sandbox = await makeSandbox(t);
          const config = { cniVersion, name: 'outer', ...plugin, ipam: { type: 'holdfast' } };
          const chain = new Chain(t, node, folder, sandbox, [config]);
          const added = await chain.add();
          t.equal(added.exitStatus, 0, added.stdout);
          const told = (added.printed.ips ?? []).map(({ address }) => address);
          t.equal(told.length, 2);
          t.strictSame(await addressesIn(sandbox, 'eth0'), told);
          t.strictSame(
            (await node.addresses()).map(({ address }) => address),
            told.map((address) => address.replace(/\/.*/, '')),
          );
          await chain.check();
          await chain.del();
          await chain.del();
          await assertNothingLeft(t, node, [{ network: 'outer', sandbox }]);
        });
      }
    }
  }

  await t.test('a second ADD of ptp, which asks for addresses first, takes nothing from the first', async (t) => {
    const [form] = node.plugins;
    if (form === undefined) return;
    const folder = await pluginFolder(t, form);
    const sandbox = await makeSandbox(t);
    const config = { cniVersion: '1.0.0', name: 'outer', type: 'ptp', ipam: { type: 'holdfast' } };
    const chain = new Chain(t, node, folder, sandbox, [config]);
    const first = await chain.add();
    t.equal(first.exitStatus, 0, first.stdout);
    const second = await new Chain(t, node, folder, sandbox, [config]).add();
    t.equal(second.exitStatus, 1, second.stdout);
    t.strictSame(
      (await node.addresses()).filter(({ state }) => state === 'held').map(({ address }) => address),
      (first.printed.ips ?? []).map(({ address }) => address.replace(/\/.*/, '')),
    );
    await chain.del();
    await assertNothingLeft(t, node, [{ network: 'outer', sandbox }]);
  });

  for (const plugin of outer) {
    await t.test(`${plugin.type} fails after it was given an address`, async (t) => {
      const [form] = node.plugins;
      if (form === undefined) return;
      const folder = await pluginFolder(t, form);
      const sandbox = await makeSandbox(t);
      const ipam = { type: 'holdfast', pool: 'astray' };
      const chain = new Chain(t, node, folder, sandbox, [{ cniVersion: '1.0.0', name: 'outer', ...plugin, ipam }]);
      const added = await chain.add();
      t.equal(added.exitStatus, 1);
      t.match(added.printed.msg, /unreachable|route/, 'the kernel refuses the route');
      await assertNothingLeft(t, node, [{ network: 'outer', sandbox }]);
    });
  }

  for (const mode of ['bridge', 'routed'] as const) {
    for (const cniVersion of VERSIONS) {
      await t.test(`first in a chain, ${mode}, ${cniVersion}`, async (t) => {
        const [form] = node.plugins;
        if (form === undefined) return;
        const folder = await pluginFolder(t, form);
        const sandbox = await makeSandbox(t);
        const port = 20_000 + (process.pid % 10_000);
        const common = { cniVersion, name: 'chain' };
        const portMappings = [{ hostPort: port, containerPort: 8080, protocol: 'tcp' }];
        const bandwidth = {
          ingressRate: 8_000_000,
          ingressBurst: 800_000,
          egressRate: 8_000_000,
          egressBurst: 800_000,
        };
        const maps = await hasIptables(t);
        const chain = new Chain(t, node, folder, sandbox, [
          { ...common, type: 'holdfast', mode, ...(mode === 'bridge' ? { bridge: BRIDGE } : {}) },
          ...(maps ? [{ ...common, type: 'portmap', snat: true, runtimeConfig: { portMappings } }] : []),
          { ...common, type: 'bandwidth', runtimeConfig: { bandwidth } },
          { ...common, type: 'tuning', mac: '02:00:5e:00:53:01', mtu: 1400, sysctl: { 'net.core.somaxconn': '500' } },
        ]);
        const added = await chain.add();
        t.equal(added.exitStatus, 0, added.stdout);
        const ips = (added.printed.ips ?? []).map(({ address }) => address);
        t.strictSame(await addressesIn(sandbox, 'eth0'), ips);
        t.match(await linkIn(sandbox, 'eth0'), { mac: '02:00:5e:00:53:01', mtu: 1400 });
        // Debian's portmap 1.1.1 never finds its own rules of IPv6, neither behind `bridge` and `host-local`.
        await chain.check(({ type }) => type !== 'portmap');
        if (maps && mode === 'bridge') {
          const listener = ['netns', 'exec', sandbox.name, 'busybox', 'nc', '-ll', '-p', '8080', '-e', 'echo', 'hello'];
          const server = spawn('ip', listener, { stdio: 'ignore' });
          t.teardown(() => server.kill());
          const greeting = await retrying('the port to be served', () => greetingAt('127.0.0.1', port));
          t.equal(greeting, 'hello', 'through the port of the host');
        }
        await chain.del();
        await chain.del();
        if (maps) t.notMatch(await output('iptables', '-t', 'nat', '-S'), sandbox.containerId, 'portmap left nothing');
        await assertNothingLeft(t, node, [{ network: 'chain', sandbox }]);
      });
    }
  }
});
