// A node without a runtime's help: the plugin's executables are called as a runtime calls them, with variables, standard
// input and network namespaces of our own, and the kernel is asked what came of it.
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { create } from '@bufbuild/protobuf';
import type { Test } from 'tap';
import { hostNameOf } from '../../../agent/network/plan-link.ts';
import { callUnary, connectUnix } from '../../../lib/grpc-client.ts';
import { type Address, Admin, ListAddressesRequestSchema } from '../../../proto/gen/holdfast/admin/v1/admin_pb.ts';
import { type Executable, launcher, nodePlugin, start } from '../../component/cni-plugin/executables.ts';
import { PATIENCE_MS, settles, startNode, type TestNode } from '../lifecycle/harness.ts';

const execute = promisify(execFile);

/** Runs a program to its end. @returns what it printed */
export async function output(program: string, ...args: readonly string[]): Promise<string> {
  return (await execute(program, args)).stdout;
}

async function json(...args: readonly string[]): Promise<readonly Readonly<Record<string, unknown>>[]> {
  return JSON.parse((await output('ip', '-json', ...args)) || '[]');
}

export type Version = '0.4.0' | '1.0.0' | '1.1.0';

/** What a plugin prints, loosely: tests look at what they need. */
export interface Printed {
  readonly cniVersion?: string;
  readonly code?: number;
  readonly msg?: string;
  readonly interfaces?: readonly { name: string; mac?: string; mtu?: number; sandbox?: string }[];
  readonly ips?: readonly { version?: string; address: string; gateway?: string; interface?: number }[];
  readonly routes?: readonly { dst: string; gw?: string }[];
}

export interface Answer {
  readonly exitStatus: number | null;
  readonly stdout: string;
  /** Empty when nothing was printed. */
  readonly printed: Printed;
}

export interface Call {
  readonly command: string;
  readonly containerId?: string | undefined;
  readonly ifname?: string | undefined;
  /** The path of a namespace. */
  readonly netns?: string | undefined;
  readonly args?: string | undefined;
  readonly config: Readonly<Record<string, unknown>>;
}

/** Calls any plugin as the specification of CNI says. */
export async function callPlugin(
  t: Test,
  executable: Executable,
  environment: Environment,
  call: Call,
): Promise<Answer> {
  const variables = {
    ...environment,
    CNI_COMMAND: call.command,
    ...(call.containerId === undefined ? {} : { CNI_CONTAINERID: call.containerId }),
    ...(call.ifname === undefined ? {} : { CNI_IFNAME: call.ifname }),
    ...(call.netns === undefined ? {} : { CNI_NETNS: call.netns }),
    ...(call.args === undefined ? {} : { CNI_ARGS: call.args }),
  };
  const { exitStatus, stdout, stderr } = await start(t, executable, variables, JSON.stringify(call.config)).ended;
  if (stderr !== '') t.comment(`${executable.name} ${call.command}: ${stderr}`);
  return { exitStatus, stdout, printed: stdout === '' ? {} : (JSON.parse(stdout) as Printed) };
}

type Environment = Readonly<Record<string, string>>;

export interface DirectNode extends TestNode {
  /** The forms of our plugin that can be had on this machine. */
  readonly plugins: readonly Executable[];
  readonly environment: Environment;
  readonly call: (t: Test, executable: Executable, call: Call) => Promise<Answer>;
  /** Those of the agent's records: `holdfast ip ls`. */
  readonly addresses: () => Promise<readonly Address[]>;
}

/** Starts the node with pools of addresses; what the runtime does plays no part. */
export async function startDirectNode(t: Test, network: Readonly<Record<string, unknown>>): Promise<DirectNode> {
  const compiled = launcher(t);
  if (typeof compiled === 'string') t.comment(`SKIP: launcher.c: ${compiled}`);
  const plugins = [nodePlugin(), ...(typeof compiled === 'string' ? [] : [compiled])];
  const node = await startNode(t, { config: { network } });
  const environment = {
    PATH: process.env['PATH'] ?? '',
    HOLDFAST_CNI_SOCKET: join(node.containerd.directory, 'run', 'cni.sock'),
    CNI_PATH: '/usr/lib/cni',
  };
  return {
    ...node,
    plugins,
    environment,
    call: (t, executable, call) => callPlugin(t, executable, environment, call),
    addresses: async () => {
      const client = connectUnix(node.agentSocket);
      try {
        const request = create(ListAddressesRequestSchema);
        return (await callUnary(client, Admin.method.listAddresses, request, { timeoutMs: PATIENCE_MS })).addresses;
      } finally {
        client.close();
      }
    },
  };
}

/** Removes an interface of the host at the end, where it is then. */
export function removeAtEnd(t: Test, name: string): void {
  t.teardown(() => output('ip', 'link', 'delete', name).catch(() => t.comment(`no ${name} to delete`)));
}

let count = 0;

export interface Sandbox {
  readonly name: string;
  /** Its path. */
  readonly netns: string;
  readonly containerId: string;
}

/** A network namespace as a runtime makes them, empty; it goes at the end of the test. */
export async function makeSandbox(t: Test): Promise<Sandbox> {
  count += 1;
  const name = `hf-direct-${process.pid}-${count}`;
  await output('ip', 'netns', 'add', name);
  t.teardown(() => output('ip', 'netns', 'delete', name));
  return { name, netns: `/run/netns/${name}`, containerId: `sandbox-${process.pid}-${count}` };
}

/** Addresses of an interface in a sandbox with prefix lengths, link-local ones left out. */
export async function addressesIn({ name }: Sandbox, ifname: string): Promise<readonly string[]> {
  const links = await json('-n', name, 'address', 'show');
  const link = links.find((each) => each['ifname'] === ifname);
  const info = (link?.['addr_info'] ?? []) as readonly { local: string; prefixlen: number; scope: string }[];
  return info.filter(({ scope }) => scope === 'global').map(({ local, prefixlen }) => `${local}/${prefixlen}`);
}

export async function linkIn(
  { name }: Sandbox,
  ifname: string,
): Promise<{ readonly mac: unknown; readonly mtu: unknown } | undefined> {
  const link = (await json('-n', name, 'link', 'show')).find((each) => each['ifname'] === ifname);
  return link && { mac: link['address'], mtu: link['mtu'] };
}

export async function linkOnHost(
  ifname: string,
): Promise<{ readonly mac: unknown; readonly mtu: unknown } | undefined> {
  const link = (await json('link', 'show')).find((each) => each['ifname'] === ifname);
  return link && { mac: link['address'], mtu: link['mtu'] };
}

/** What is noted on an interface of the host; the empty string when nothing is. */
export async function aliasOnHost(ifname: string): Promise<string> {
  const alias = (await json('link', 'show')).find((each) => each['ifname'] === ifname)?.['ifalias'];
  return typeof alias === 'string' ? alias : '';
}

/** Destinations (with prefix length) and next hops of routes in a sandbox that go by a next hop. */
export async function routesIn({ name }: Sandbox): Promise<readonly string[]> {
  const both = await Promise.all((['-4', '-6'] as const).map((family) => json(family, '-n', name, 'route', 'show')));
  return both.flatMap((routes, family) =>
    routes
      .filter((route) => route['gateway'] !== undefined)
      .map(
        ({ dst, gateway }) => `${dst === 'default' ? ['0.0.0.0/0', '::/0'][family] : String(dst)} ${String(gateway)}`,
      ),
  );
}

export interface Expected {
  readonly network: string;
  readonly ifname?: string;
  readonly sandbox: Sandbox;
}

/** Whether nobody holds anything, and none of these attachments left an interface on the host. */
export async function assertNothingLeft(t: Test, node: DirectNode, attachments: readonly Expected[]): Promise<void> {
  await settles(t, 'nobody holds an address', [], async () =>
    (await node.addresses()).filter(({ state }) => state === 'held').map(({ address }) => address),
  );
  const names = attachments.map(({ network, ifname = 'eth0', sandbox: { containerId } }) =>
    hostNameOf({ network, containerId, ifname }),
  );
  await settles(t, 'no interface of a sandbox is left on the host', [], async () => {
    const there = (await json('link', 'show')).map((link) => link['ifname']);
    return names.filter((name) => there.includes(name));
  });
}
