// `holdfast plan` as a process: one request, traces, and an agent that is asked.
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';
import { implement, serveUnix } from '../../../agent/api/grpc-server.ts';
import { Topology } from '../../../proto/gen/holdfast/topology/v1/topology_pb.ts';
import { filesOf, regularMachine } from '../../unit/topology/fake-machine.ts';

const run = promisify(execFile);
const repository = fileURLToPath(new URL('../../..', import.meta.url));

/** The command alone: the whole program takes a few seconds to compile. */
const PROGRAM =
  "const { planCommand } = await import('./agent/cli/plan.ts'); await planCommand().parseAsync(process.argv.slice(1), { from: 'user' });";

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function plan(...words: readonly string[]): Promise<Outcome> {
  try {
    const nodeArguments = ['--import=tsx', '--input-type=module', '--eval', PROGRAM, '--', ...words];
    const { stdout, stderr } = await run(process.execPath, nodeArguments, { cwd: repository });
    return { code: 0, stdout, stderr };
  } catch (error) {
    if (!(error instanceof Error && 'stdout' in error && 'stderr' in error && 'code' in error)) throw error;
    return { code: Number(error.code), stdout: String(error.stdout), stderr: String(error.stderr) };
  }
}

/** Two sockets with a node each, two cores of two threads: node 0 has CPUs 0-1 and 4-5. */
const root = await mkdtemp(join(tmpdir(), 'holdfast-plan-'));
t.teardown(() => rm(root, { recursive: true, force: true }));
for (const [path, text] of filesOf(regularMachine(2, 1, 2, 2))) {
  await mkdir(dirname(join(root, path)), { recursive: true });
  await writeFile(join(root, path), text);
}

async function traceOf(name: string, text: string): Promise<string> {
  const path = join(root, name);
  await writeFile(path, text);
  return path;
}

await t.test('one request on a copy of a machine', async (t) => {
  const request = [
    '--root',
    root,
    '--memory',
    '64Ki',
    '--cpuset',
    'exclusive',
    '--numa',
    'required',
    '--reserved-cpus',
    '0',
  ];
  const fits = await plan(...request, '--cpus', '3');
  t.match(fits, { code: 0, stdout: /^CPUSET +CPUS +MEMORY NODES\nexclusive +1,4-5 +0\n$/, stderr: '' });
  const refused = await plan(...request, '--cpus', '5', '-o', 'json');
  t.equal(refused.code, 1);
  t.match(JSON.parse(refused.stdout), {
    fits: false,
    reason: /must come from one NUMA node/,
    nodeReasons: [
      { node: 0, reason: '3 of 5 CPUs free' },
      { node: 1, reason: '4 of 5 CPUs free' },
    ],
  });
});

await t.test('a trace, line by line', async (t) => {
  const lines = [
    { op: 'alloc', id: 'a', cpus: 2, memoryBytes: 0, cpuset: 'exclusive', numa: 'required' },
    { op: 'alloc', id: 'b', cpus: 6, memoryBytes: 0, cpuset: 'exclusive', numa: 'none' },
    { op: 'free', id: 'a' },
  ];
  const path = await traceOf('trace.jsonl', `${lines.map((line) => JSON.stringify(line)).join('\n\n')}\n`);
  const { code, stdout } = await plan('--root', root, '--trace', path, '--strategy', 'spread');
  t.equal(code, 0);
  const results = stdout
    .trim()
    .split('\n')
    .map((line): unknown => JSON.parse(line));
  t.match(results, [
    // All else being equal, the node with more memory.
    { op: 'alloc', id: 'a', ok: true, cpus: '2,6', mems: '1' },
    { op: 'alloc', id: 'b', ok: false, reason: /6 are free, of which 1 must stay for shared containers/ },
    { op: 'free', id: 'a', ok: true },
  ]);
});

await t.test('a bad line ends the trace and is named', async (t) => {
  const path = await traceOf('bad.jsonl', '{"op":"alloc","id":"a","cpus":1}\n{"op":"alloc","id":"b","cpus":"1"}\n');
  const { code, stdout, stderr } = await plan('--root', root, '--trace', path);
  t.equal(code, 1);
  t.match(stdout, /^\{"op":"alloc","id":"a","ok":true,[^\n]*\n$/, 'what came before it was printed');
  t.match(stderr, /line 2 is not an operation .* cpus: /);
  t.match(await plan('--root', root, '--trace', join(root, 'none')), { code: 1, stderr: /cannot be read/ });
});

await t.test('the agent is asked where no copy is given', async (t) => {
  const socket = join(root, 'topology.sock');
  const asked: unknown[] = [];
  const server = await serveUnix({
    path: socket,
    services: [
      implement(Topology, {
        getTopology: async () => ({}),
        watchTopology: async function* () {},
        listAllocations: async () => ({}),
        planPlacement: async (request) => {
          asked.push(request);
          return { fits: true, containers: [{ name: 'container', cpuset: 'exclusive', cpus: '7', mems: '' }] };
        },
      }),
    ],
    onFinished: () => {},
  });
  t.teardown(() => server.close(0));
  const { stdout } = await plan('--socket', socket, '--cpus', '1', '--memory', '1Gi', '--cpuset', 'exclusive');
  t.match(stdout, /exclusive +7 +any/);
  t.match(asked, [{ numa: 'none', containers: [{ cpuMillis: 1000n, memoryBytes: 1n << 30n, cpuset: 'exclusive' }] }]);
});

await t.test('what is missing or makes no sense is said', async (t) => {
  for (const [words, message] of [
    [['--root', root], /--cpus is missing/],
    [['--cpus', '1', '--strategy', 'pack'], /need --root/],
    [['--cpus', 'many'], /not a quantity/],
  ] as const) {
    t.match(await plan(...words), { code: 1, stderr: message }, words.join(' '));
  }
  t.match(await plan('--socket', join(root, 'none.sock'), '--cpus', '1'), { code: 1, stderr: /is it running\?/ });
});
