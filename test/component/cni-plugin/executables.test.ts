// Both forms of the plugin, started as a runtime starts them, in front of the agent's real socket: one set of tests.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { pollUntil } from '../../../agent/cli/quickstart/poll.ts';
import { CniError } from '../../../agent/network/cni/cni-error.ts';
import { versionForAnswer } from '../../../agent/network/cni/versions.ts';
import { HoldfastError } from '../../../lib/errors.ts';
import { configOf, ENVIRONMENT, startCniServer } from '../../support/cni-client.ts';
import { assertCniAnswer } from '../../support/cni-json.ts';
import { holdsAsync } from '../../support/properties.ts';
import { ATTACHED, recordingHandler, untilAborted } from '../../support/recording-cni-handler.ts';
import { type Executable, launcher, nodePlugin, start } from './executables.ts';

// Sixty processes of Node.js, some of them one after the other.
t.setTimeout(300_000);

const PATIENCE_MS = 60_000;
const HANGING_AGENT = fileURLToPath(new URL('hanging-agent.ts', import.meta.url));
const COMMANDS = ['ADD', 'DEL', 'CHECK', 'GC', 'STATUS'] as const;
const VERSIONS = ['0.4.0', '1.0.0', '1.1.0'] as const;

/** What can come of a call: what the handler throws, or what is wrong with the request, and the code of the answer. */
const OUTCOMES: readonly {
  readonly name: string;
  readonly thrown?: Error;
  readonly environment?: Readonly<Record<string, string>>;
  readonly stdin?: string;
  readonly code: (command: string) => number;
}[] = [
  { name: 'success', code: () => 0 },
  { name: 'no room', thrown: new HoldfastError('NO_ROOM', 'pool a is full'), code: () => 50 },
  {
    name: 'try again',
    thrown: new HoldfastError('UNAVAILABLE', 'etcd is away'),
    code: (command) => (command === 'STATUS' ? 50 : 11),
  },
  {
    name: 'not there',
    thrown: new HoldfastError('NOT_FOUND', 'no such attachment'),
    code: (command) => (command === 'DEL' ? 0 : 3),
  },
  { name: "the kernel's refusal", thrown: new HoldfastError('HOST_FAILURE', 'netlink: EBUSY'), code: () => 5 },
  { name: "a code of CNI's", thrown: new CniError(51, 'UNAVAILABLE', 'no uplink'), code: () => 51 },
  { name: 'a mistake of ours', thrown: new TypeError('x is undefined'), code: () => 103 },
  { name: 'undecodable configuration', stdin: '{"cniVersion":', code: () => 6 },
  { name: 'invalid configuration', stdin: '{"cniVersion":"1.1.0","name":"","type":"holdfast"}', code: () => 7 },
  {
    name: 'invalid container',
    environment: { CNI_CONTAINERID: '../x' },
    code: (command) => (command === 'GC' || command === 'STATUS' ? 0 : 4),
  },
];

const isSince110 = (command: string): boolean => command === 'GC' || command === 'STATUS';

function socketFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-cni-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

function callOf(t: Test, executable: Executable, socketPath: string) {
  return (
    command: string,
    stdin: string | Uint8Array | undefined,
    environment: Readonly<Record<string, string>> = {},
  ) =>
    start(
      t,
      executable,
      { HOLDFAST_CNI_SOCKET: socketPath, CNI_COMMAND: command, ...ENVIRONMENT, ...environment },
      stdin,
    );
}

/** Texts that an environment can hold. */
const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 40 }).map((value) => value.replaceAll('\0', '')),
  fc.constantFrom('eth0', 'a', '/run/netns/a', 'K8S_POD_NAME=a'),
);
const environment = fc.dictionary(
  fc.constantFrom('CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME', 'CNI_ARGS', 'CNI_X'),
  text,
  {
    noNullPrototype: true,
  },
);
const version = fc.oneof(fc.constantFrom(...VERSIONS, '0.3.1', '1.10.100', '1.1', '1.1.1000'), fc.jsonValue());
const json = fc
  .record({
    cniVersion: version,
    name: fc.constantFrom('pods', 'a/b'),
    type: fc.constant('holdfast'),
    x: fc.jsonValue(),
  })
  .chain((config) => fc.constantFrom(JSON.stringify(config), JSON.stringify(config, undefined, 2)));

/** @param fuzzRuns - processes started with arbitrary input, of each kind */
async function testExecutable(t: Test, executable: Executable, fuzzRuns: number): Promise<void> {
  await t.test('any input of a runtime is answered in CNI, and in its version', async (t) => {
    const { path } = await startCniServer(t, recordingHandler());
    const away = callOf(t, executable, '/nonexistent/cni.sock');
    const call = callOf(t, executable, path);
    const configuration = fc.asyncProperty(
      fc.constantFrom(...COMMANDS),
      json,
      environment,
      async (command, stdin, env) => {
        const asked = versionForAnswer((JSON.parse(stdin) as { readonly cniVersion?: unknown }).cniVersion);
        assertCniAnswer(await call(command, stdin, env).ended, command, asked);
        assert.equal(assertCniAnswer(await away(command, stdin, env).ended, command, asked)?.code, 11);
      },
    );
    await holdsAsync(t, 'configurations', configuration, fuzzRuns);
    const bytes = fc.uint8Array().map((bytes) => Buffer.concat([Buffer.from('{"cniVersion":"'), bytes]));
    const anything = fc.asyncProperty(
      text,
      fc.oneof(fc.uint8Array(), bytes),
      environment,
      async (command, stdin, env) => {
        for (const { ended } of [call(command, stdin, env), away(command, stdin, env)]) {
          const { exitStatus, stdout } = await ended;
          const { cniVersion } = JSON.parse(stdout) as { readonly cniVersion: string };
          assert.ok(assertCniAnswer({ exitStatus, stdout }, '', cniVersion));
        }
      },
    );
    await holdsAsync(t, 'bytes', anything, fuzzRuns);
  });

  await t.test('commands, versions and outcomes', async (t) => {
    let thrown: Error | undefined;
    const handler = recordingHandler(async () => {
      if (thrown !== undefined) throw thrown;
      return ATTACHED;
    });
    const server = await startCniServer(t, handler);
    const call = callOf(t, executable, server.path);
    // Every pair of command and outcome, of version and outcome, and of command and version.
    for (const [row, outcome] of OUTCOMES.entries()) {
      thrown = outcome.thrown;
      const calls = COMMANDS.map(async (command, column) => {
        const version = VERSIONS[(row + column) % VERSIONS.length] ?? '';
        const stdin = outcome.stdin ?? JSON.stringify(configOf(command, version));
        const ended = await call(command, stdin, outcome.environment).ended;
        const unknown = outcome.stdin === undefined && isSince110(command) && version !== '1.1.0';
        const error = assertCniAnswer(ended, command, outcome.stdin === undefined ? version : '1.1.0');
        t.equal(error?.code ?? 0, unknown ? 1 : outcome.code(command), `${command} in ${version}: ${outcome.name}`);
        t.equal(ended.stderr, '');
      });
      await Promise.all(calls);
    }
  });

  await t.test('the agent gets what the runtime gave, and the runtime what the agent said', async (t) => {
    const handler = recordingHandler();
    const { path } = await startCniServer(t, handler);
    const annotations = { 'holdfast.dev/ip': 'ke\u00e9p \u{1F600} "\\' };
    const config = { ...configOf('ADD'), runtimeConfig: { 'io.kubernetes.cri.pod-annotations': annotations } };
    const environment = {
      CNI_ARGS: 'K8S_POD_NAMESPACE=a;K8S_POD_NAME=b',
      CNI_PATH: '/o\u00fc:/b',
      PATH: '/bin',
      CNI_: '',
    };
    const { stdout } = await callOf(t, executable, path)('ADD', JSON.stringify(config), environment).ended;
    t.match(handler.requests[0], {
      id: { network: 'pods', containerId: 'c0ffee', ifname: 'eth0' },
      netns: '/run/netns/blue',
      pod: { namespace: 'a', name: 'b', annotations },
    });
    t.match(JSON.parse(stdout), { interfaces: [{ name: 'hf0123456789' }, { name: 'eth0' }] });
  });

  await t.test('requests and answers as large as may be arrive whole; larger ones are refused', async (t) => {
    const routes = Array.from({ length: 20_000 }, () => ({ dst: '10.0.0.0/8', gw: '10.1.0.1' }));
    const { path } = await startCniServer(
      t,
      recordingHandler(async () => ({ ...ATTACHED, routes })),
    );
    const call = callOf(t, executable, path);
    const json = JSON.stringify(configOf('ADD'));
    const full = json.padEnd(1024 * 1024);
    const variables = { CNI_X: 'x'.repeat(64 * 1024 - 200) };
    const { exitStatus, stdout } = await call('ADD', full, variables).ended;
    t.equal(exitStatus, 0);
    t.equal((JSON.parse(stdout) as { readonly routes: readonly unknown[] }).routes.length, 20_000);
    const tooLong = await call('ADD', `${full} `).ended;
    t.match(assertCniAnswer(tooLong, 'ADD', '1.1.0'), { code: 7, msg: /more than 1048576 bytes/ });
    const tooMuch = await call('ADD', json, { CNI_X: 'x'.repeat(64 * 1024) }).ended;
    t.match(assertCniAnswer(tooMuch, 'ADD', '1.1.0'), { code: 4, msg: /CNI_… have more than 65536 bytes/ });
  });

  await t.test('VERSION is answered without the agent', async (t) => {
    const call = callOf(t, executable, '/nonexistent/cni.sock');
    const asked: readonly (readonly [string, string])[] = [
      ['{"cniVersion":"1.0.0"}', '1.0.0'],
      [
        ' {"a":{"cniVersion":"0.1.0"},"b":"cniVersion","c":"\\"cniVersion\\":","cniVersion" :\n"0.3.1", "d": []}',
        '0.3.1',
      ],
      ['{"cniVersion":"0.3.0","cniVersion":"0.4.0"}', '0.4.0'],
      ['', '1.1.0'],
      ['{"cniVersion":"', '1.1.0'],
      ['{"cniVersion":5}', '1.1.0'],
      ['{"cniVersion":"1.0.0-x"}', '1.1.0'],
      ['{"cniVersion":"1.0.0","cniVersion":null}', '1.1.0'],
      ['["cniVersion"]', '1.1.0'],
      ['{"cniVersion":"1..0"}', '1.1.0'],
    ];
    for (const [stdin, cniVersion] of asked) {
      const { exitStatus, stdout } = await call('VERSION', stdin).ended;
      t.strictSame(JSON.parse(stdout), { cniVersion, supportedVersions: [...VERSIONS] }, stdin);
      t.equal(exitStatus, 0);
    }
  });

  await t.test('without an agent every command is to be tried again', async (t) => {
    const folder = socketFolder(t);
    const dead = join(folder, 'dead.sock');
    const file = join(folder, 'file');
    writeFileSync(file, '');
    // A process that dies leaves its socket behind.
    const bind = `require('net').createServer().listen(${JSON.stringify(dead)}, () => process.kill(process.pid, 'SIGKILL'))`;
    await once(spawn(process.execPath, ['-e', bind]), 'close');
    for (const path of [join(folder, 'none.sock'), dead, file, `${folder}/"\\\u0001\u00e9.sock`]) {
      const { code, details } =
        assertCniAnswer(await callOf(t, executable, path)('ADD', '{}').ended, 'ADD', '1.1.0') ?? {};
      t.equal(code, 11, path);
      t.ok(details?.startsWith(folder), path);
    }
    const call = callOf(t, executable, dead);
    for (const [index, command] of COMMANDS.entries()) {
      const version = VERSIONS[index % VERSIONS.length] ?? '';
      const ended = await call(command, JSON.stringify(configOf(command, version))).ended;
      t.match(assertCniAnswer(ended, command, version), { code: 11 }, command);
    }
  });

  await t.test('an agent that answers no answer, or half of one, is as good as away', async (t) => {
    const path = join(socketFolder(t), 'cni.sock');
    let reply = '';
    const server = net.createServer(
      (socket) =>
        void socket
          .on('error', () => {})
          .on('data', () => {})
          .end(reply),
    );
    t.teardown(() => server.close());
    server.listen(path);
    await once(server, 'listening');
    for (reply of [
      '',
      '0',
      '0 5\nhalf',
      '0 0',
      'HTTP/1.1 400\r\n\r\n',
      '0 9999999\n{}',
      '999 2\n{}',
      '\n\n',
      `${'9'.repeat(99)}\n`,
    ]) {
      const ended = await callOf(t, executable, path)('ADD', '{"cniVersion":"1.0.0"}').ended;
      t.match(assertCniAnswer(ended, 'ADD', '1.0.0'), { code: 11 }, JSON.stringify(reply));
    }
    for (const [text, exitStatus, stdout] of [
      ['0 0\n', 0, ''],
      ['1 2\n{}', 1, '{}'],
      ['255 4\na\nb\0', 255, 'a\nb\0'],
    ] as const) {
      reply = text;
      t.match(await callOf(t, executable, path)('ADD', '{}').ended, { exitStatus, stdout }, JSON.stringify(text));
    }
  });

  await t.test('an agent that is killed at work: try again', async (t) => {
    const path = join(socketFolder(t), 'cni.sock');
    const agent = spawn(process.execPath, ['--import=tsx', HANGING_AGENT, path], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    t.teardown(() => agent.kill('SIGKILL'));
    let said = '';
    agent.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
    const says = (word: string) =>
      pollUntil(`the agent's "${word}"`, PATIENCE_MS, async () => (said.includes(word) ? true : undefined));
    await says('serving');
    const { ended } = callOf(t, executable, path)('ADD', JSON.stringify(configOf('ADD', '0.4.0')));
    await says('ADD');
    agent.kill('SIGKILL');
    t.match(assertCniAnswer(await ended, 'ADD', '0.4.0'), {
      code: 11,
      details: /closed before the answer was complete/,
    });
  });

  await t.test('a plugin that is killed ends the ADD it asked for', async (t) => {
    const handler = recordingHandler((_, signal) => untilAborted(signal));
    const { path } = await startCniServer(t, handler);
    const plugin = callOf(t, executable, path)('ADD', JSON.stringify(configOf('ADD')));
    const [signal] = await pollUntil('the call', PATIENCE_MS, async () => handler.signals[0] && [handler.signals[0]]);
    plugin.kill();
    await pollUntil('the abort', PATIENCE_MS, async () => (signal?.aborted === true ? true : undefined));
    t.match(signal?.reason, { code: 'UNAVAILABLE' });
  });

  await t.test('patience has an end: for the agent, and for a runtime that never closes standard input', async (t) => {
    const handler = recordingHandler((_, signal) => untilAborted(signal));
    const { path } = await startCniServer(t, handler);
    const call = callOf(t, executable, path);
    const silent = await call('ADD', '{"cniVersion":"1.0.0","name":"a"}', { HOLDFAST_CNI_TIMEOUT: '1' }).ended;
    t.equal(assertCniAnswer(silent, 'ADD', '1.0.0')?.code, 7, 'the agent answers in time');
    const config = JSON.stringify(configOf('ADD', '1.0.0'));
    const late = await call('ADD', config, { HOLDFAST_CNI_TIMEOUT: '1' }).ended;
    t.match(assertCniAnswer(late, 'ADD', '1.0.0'), { code: 11, details: /no answer in time/ });
    const open = await call('ADD', undefined, { HOLDFAST_CNI_TIMEOUT: '1' }).ended;
    t.match(assertCniAnswer(open, 'ADD', '1.1.0'), { code: 11 });
  });

  await t.test('a queue of connections that is full is waited for', async (t) => {
    const path = join(socketFolder(t), 'cni.sock');
    const server = net.createServer(
      (socket) => void socket.on('error', () => {}).on('data', () => socket.end('0 0\n')),
    );
    t.teardown(() => server.close());
    server.listen({ path, backlog: 1 });
    await once(server, 'listening');
    const calls = Array.from({ length: 12 }, () => callOf(t, executable, path)('DEL', '{}').ended);
    // While this process waits for that one it accepts nobody, and the queue fills up.
    const [program, ...args] = executable.command;
    const env = { HOLDFAST_CNI_SOCKET: path, HOLDFAST_CNI_TIMEOUT: '1', CNI_COMMAND: 'DEL' };
    const { status, stdout } = spawnSync(program, args, { env, input: '{}', encoding: 'utf8' });
    const late = assertCniAnswer({ exitStatus: status, stdout }, 'DEL', '1.1.0');
    t.match(late, { code: 11, details: /no answer in time/ });
    for (const ended of await Promise.all(calls)) t.match(ended, { exitStatus: 0, stdout: '' });
  });

  await t.test('a path that no socket can have is an error of the environment', async (t) => {
    const call = callOf(t, executable, `/${'x'.repeat(107)}`);
    const ended = await call('ADD', '{"cniVersion":"1.0.0"}').ended;
    t.match(assertCniAnswer(ended, 'ADD', '1.1.0'), { code: 4, msg: /HOLDFAST_CNI_SOCKET is longer than 107/ });
    const longest = await callOf(t, executable, `/${'x'.repeat(106)}`)('ADD', '{}').ended;
    t.match(assertCniAnswer(longest, 'ADD', '1.1.0'), { code: 11 });
  });

  await t.test('standard streams that are closed do no harm', async (t) => {
    const handler = recordingHandler();
    const { path } = await startCniServer(t, handler);
    const run = join(socketFolder(t), 'run.sh');
    for (const [redirections, code] of [
      ['<&-', 6],
      ['2>&-', 0],
      ['< /dev/null', 6],
    ] as const) {
      writeFileSync(run, `#!/bin/sh\nexec "$@" ${redirections}\n`);
      chmodSync(run, 0o755);
      const wrapped: Executable = { name: 'wrapped', command: [run, ...executable.command] };
      const ended = await callOf(t, wrapped, path)('ADD', JSON.stringify(configOf('ADD'))).ended;
      t.equal(assertCniAnswer(ended, 'ADD', '1.1.0')?.code ?? 0, code, redirections);
    }
    writeFileSync(run, '#!/bin/sh\nexec "$@" >&-\n');
    const calls = handler.requests.length;
    const wrapped: Executable = { name: 'wrapped', command: [run, ...executable.command] };
    await callOf(t, wrapped, path)('ADD', JSON.stringify(configOf('ADD'))).ended;
    t.equal(handler.requests.length, calls + 1, 'the agent was asked, with nothing but the request');
  });
}

t.test('main.ts', async (t) => testExecutable(t, nodePlugin(), 8));

const built = launcher(t);
if (typeof built === 'string') t.test('launcher.c', { skip: built }, async () => {});
else t.test(built.name, async (t) => testExecutable(t, built, 100));
