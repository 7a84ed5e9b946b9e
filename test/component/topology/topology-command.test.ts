// `holdfast topology` as a process: asking an agent, reading /sys without one, and reading a copy of another machine.
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { fromJson } from '@bufbuild/protobuf';
import { Registry } from 'prom-client';
import t, { type Test } from 'tap';
import { parse } from 'yaml';
import { implement, serveUnix } from '../../../agent/api/grpc-server.ts';
import type { Handlers } from '../../../agent/api/handlers.ts';
import { TcpEndpoint } from '../../../agent/api/tcp-endpoint.ts';
import { topologyCommand } from '../../../agent/cli/topology.ts';
import { agentConfigSchema } from '../../../agent/config/schema.ts';
import { createLogger } from '../../../agent/log.ts';
import { Changes } from '../../../lib/changes.ts';
import { HoldfastError } from '../../../lib/errors.ts';
import { HostTopologySchema, Topology } from '../../../proto/gen/holdfast/topology/v1/topology_pb.ts';
import { makeAuthority } from '../../support/test-certificates.ts';
import { filesOf, regularMachine } from '../../unit/topology/fake-machine.ts';

const run = promisify(execFile);
const repository = fileURLToPath(new URL('../../..', import.meta.url));
const PROGRAM =
  "const { topologyCommand } = await import('./agent/cli/topology.ts'); await topologyCommand().parseAsync(process.argv.slice(1), { from: 'user' });";

/** Runs the command; a failure carries its standard error. */
function topology(...words: readonly string[]): Promise<{ readonly stdout: string; readonly stderr: string }> {
  return run(process.execPath, ['--import=tsx', '--input-type=module', '--eval', PROGRAM, '--', ...words], {
    cwd: repository,
  });
}

const answers: Handlers<typeof Topology> = {
  getTopology: async () => ({
    version: 5n,
    nodeName: 'from-the-agent',
    cpus: [
      { id: 0, online: true },
      { id: 1, online: true },
    ],
    numaNodes: [{ id: 0, cpus: '0-1', allocatableCpus: '0-1', freeCpus: '0', sharedCpus: '0', memoryBytes: 1n << 30n }],
  }),
  watchTopology: async function* () {},
  listAllocations: async () => ({
    pods: [{ namespace: 'ns', name: 'pod', containers: [{ name: 'c', cpuset: 'exclusive', cpus: '1', mems: '' }] }],
  }),
  planPlacement: async () => ({}),
};

/** What a command that must fail writes to standard error. */
async function complaint(...words: readonly string[]): Promise<string> {
  try {
    await topology(...words);
  } catch (error) {
    if (error instanceof Error && 'stderr' in error) return String(error.stderr);
    throw error;
  }
  throw new Error(`topology ${words.join(' ')} should have failed`);
}

async function serve(t: Test, handlers: Handlers<typeof Topology>): Promise<string> {
  // A socket's path is short: tap's own folders are not.
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-'));
  const path = join(folder, 'topology.sock');
  const server = await serveUnix({ path, services: [implement(Topology, handlers)], onFinished: () => {} });
  t.teardown(async () => {
    await server.close(0);
    await rm(folder, { recursive: true });
  });
  return path;
}

await t.test('the agent is asked when it answers', async (t) => {
  const socket = await serve(t, answers);
  const { stdout, stderr } = await topology('--socket', socket);
  t.equal(stderr, '');
  t.match(stdout, /^from-the-agent: /);
  t.match(stdout, / \[0\. 1A\]\n/);
  t.match(stdout, /A {2}ns\/pod\/c {3}exclusive {2}1 /);
  const json = JSON.parse((await topology('--socket', socket, '-o', 'json')).stdout);
  t.equal(fromJson(HostTopologySchema, json).version, 5n);
});

await t.test('without an agent the host itself is read, and said so', async (t) => {
  const { stdout, stderr } = await topology('--socket', join(t.testdir({}), 'none.sock'), '-o', 'json');
  t.match(
    stderr,
    /^holdfast: the agent does not answer on .*none\.sock.*; read from \/sys, as if nothing were handed out\n/,
  );
  const host = fromJson(HostTopologySchema, JSON.parse(stdout));
  t.ok(host.cpus.some(({ online }) => online));
  t.ok(host.numaNodes.some(({ memoryBytes }) => memoryBytes > 0n));
});

await t.test('what the agent refuses is not covered up', async (t) => {
  const socket = await serve(t, {
    ...answers,
    listAllocations: async () => {
      throw new HoldfastError('PRECONDITION', 'not reconciled yet');
    },
  });
  t.match(await complaint('--socket', socket), /not reconciled yet/);
});

await t.test('--root reads a copy of another machine, whose agent nobody asks', async (t) => {
  const root = t.testdir({});
  const files = filesOf(regularMachine(2, 1, 2, 2)).set('/proc/sys/kernel/hostname', 'other-host\n');
  for (const [path, text] of files) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), text);
  }
  const { stdout, stderr } = await topology('--root', root, '-o', 'yaml');
  t.equal(stderr, '');
  t.match(parse(stdout), {
    nodeName: 'other-host',
    version: '0',
    reservedCpus: '',
    numaNodes: [{ id: 0, cpus: '0-1,4-5', freeCpus: '0-1,4-5', memoryBytes: '1048576' }, { id: 1 }],
  });
  const picture = await topology('--root', root);
  t.match(picture.stdout, /^other-host: 2 sockets, 2 NUMA nodes, 4 cores, 8 CPUs, 3 MiB\n/);
  t.match(picture.stdout, /\[0\. 4\.\] \[1\. 5\.\]/);
  t.match(await complaint('--root', join(root, 'sys')), /the top folder of a copy/);
  t.match(await complaint('-o', 'xml'), /table, json or yaml/);
});

/** An agent whose state changes when it is told to. */
function changing(first: bigint) {
  const changes = new Changes({ first, onVersion: () => {} });
  const now = () => ({ version: changes.version, nodeName: 'node', cpus: [{ id: 0, online: true }] });
  const handlers: Handlers<typeof Topology> = {
    getTopology: async () => now(),
    watchTopology: async function* (_request, { signal }) {
      for (;;) {
        const state = now();
        yield state;
        await changes.after(state.version, signal);
      }
    },
    listAllocations: async () => ({ version: changes.version }),
    planPlacement: async () => ({}),
  };
  return { changes, handlers };
}

await t.test(
  '--watch prints a line of JSON for each change, and goes on when the agent is started again',
  async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'holdfast-'));
    t.teardown(() => rm(folder, { recursive: true }));
    const path = join(folder, 'topology.sock');
    const start = async (first: bigint) => {
      const { changes, handlers } = changing(first);
      const server = await serveUnix({ path, services: [implement(Topology, handlers)], onFinished: () => {} });
      t.teardown(() => server.close(0));
      return { changes, server };
    };
    const agent = await start(10n);
    const words = ['--watch', '-o', 'json', '--socket', path];
    const child = spawn(process.execPath, ['--import=tsx', '--input-type=module', '--eval', PROGRAM, '--', ...words], {
      cwd: repository,
    });
    t.teardown(() => child.kill('SIGKILL'));
    const stderr: string[] = [];
    child.stderr.on('data', (text) => void stderr.push(String(text)));
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const next = async (): Promise<bigint> => {
      const line = await lines.next();
      return fromJson(HostTopologySchema, JSON.parse(line.done === true ? 'null' : line.value)).version;
    };
    t.equal(await next(), 10n);
    agent.changes.announce();
    t.equal(await next(), 11n);
    await agent.server.close(0);
    const again = await start(20n);
    t.equal(await next(), 20n);
    t.match(stderr.join(''), /^holdfast: .*; trying again\n$/);
    // Whoever read has seen enough, as head does.
    const ended = once(child, 'exit');
    child.stdout.destroy();
    again.changes.announce();
    t.strictSame(await ended, [0, null]);
  },
);

await t.test('--endpoint asks the agent of another node, with certificates', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const authority = await makeAuthority(folder);
  const files = { server: await authority.issue('node-1', 'DNS:node-1'), client: await authority.issue('me') };
  const at = (name: string): string => join(folder, name);
  await writeFile(at('ca.pem'), authority.ca);
  for (const [name, { cert, key }] of Object.entries(files)) {
    await writeFile(at(`${name}.pem`), cert);
    await writeFile(at(`${name}.key`), key, { mode: 0o600 });
  }
  const shutdown = new AbortController();
  const endpoint = new TcpEndpoint({
    config: agentConfigSchema.shape.topologyApi.parse({
      address: '127.0.0.1:0',
      tls: { certificate: at('server.pem'), key: at('server.key'), clientCa: at('ca.pem') },
    }),
    logger: createLogger('silent'),
    metrics: new Registry(),
    onFinished: () => {},
    signal: shutdown.signal,
  });
  t.teardown(async () => {
    shutdown.abort();
    await endpoint.close(0);
  });
  await endpoint.open([implement(Topology, changing(7n).handlers)]);
  const where = ['--endpoint', `127.0.0.1:${endpoint.address?.port}`];
  const certificates = ['--tls-ca', at('ca.pem'), '--tls-cert', at('client.pem'), '--tls-key', at('client.key')];
  const { stdout, stderr } = await topology(...where, ...certificates, '--server-name', 'node-1', '-o', 'json');
  t.equal(stderr, '');
  t.equal(fromJson(HostTopologySchema, JSON.parse(stdout)).version, 7n);

  t.match(
    await complaint(...where, ...certificates),
    /altnames|IP: 127\.0\.0\.1/,
    'it is not the node that was asked for',
  );
  t.match(await complaint('--endpoint', 'node-1:9570'), /node-1 is asked with --tls-ca, --tls-cert and --tls-key/);
  t.match(await complaint('--endpoint', 'node-1', ...certificates), /it must be HOST:PORT/);
  // Nothing listens on port 1, which is reserved and needs root.
  const nowhere = await complaint('--endpoint', '127.0.0.1:1', ...certificates);
  t.match(nowhere, /does not answer on 127\.0\.0\.1:1: is topologyApi set/);
  t.notMatch(nowhere, /systemctl/, 'it is another host');
  t.match(await complaint('--tls-ca', at('ca.pem')), /need --endpoint/);
  t.match(await complaint(...where, ...certificates.with(1, at('none'))), /--tls-ca .*none cannot be read/);
});

await t.test('options that do not go together are refused', async (t) => {
  const refused: readonly (readonly [words: readonly string[], RegExp])[] = [
    [['--socket', 's', '--endpoint', 'node-1:9570'], /'--socket <path>' cannot be used with .*'--endpoint/],
    [['--socket', 's', '--root', '/r'], /'--socket <path>' cannot be used with .*'--root/],
    [['--endpoint', 'node-1:9570', '--root', '/r'], /cannot be used with/],
    [['--tls-ca', 'f', '--root', '/r'], /'--tls-ca <file>' cannot be used with .*'--root/],
    [['--tls-cert', 'f', '--root', '/r'], /'--tls-cert <file>' cannot be used with/],
    [['--tls-key', 'f', '--root', '/r'], /'--tls-key <file>' cannot be used with/],
    [['--server-name', 'n', '--root', '/r'], /'--server-name <name>' cannot be used with/],
  ];
  for (const [words, message] of refused) {
    const command = topologyCommand()
      .exitOverride()
      .configureOutput({ writeErr: () => undefined });
    await t.rejects(command.parseAsync([...words], { from: 'user' }), { code: 'commander.conflictingOption', message });
  }
});

await t.test('what another host says cannot write to the terminal, and JSON stays what it is', async (t) => {
  const nodeName = 'node\u001b[2J\u009b';
  const socket = await serve(t, {
    ...answers,
    getTopology: async (request, context) => ({ ...(await answers.getTopology(request, context)), nodeName }),
  });
  t.match((await topology('--socket', socket)).stdout, /^node�\[2J�: /);
  const json = JSON.parse((await topology('--socket', socket, '-o', 'json')).stdout);
  t.equal(fromJson(HostTopologySchema, json).nodeName, nodeName);
  const refusing = await serve(t, {
    ...answers,
    listAllocations: async () => {
      throw new HoldfastError('PRECONDITION', 'not \u001b[2J yet');
    },
  });
  const error = await topologyCommand()
    .parseAsync(['--socket', refusing], { from: 'user' })
    .catch((thrown: unknown) => thrown);
  t.match(error, { code: 'PRECONDITION', message: 'not �[2J yet' });
});
