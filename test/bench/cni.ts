// What joining a pod to the network costs: the plugin in both of its forms against the CNI project's `bridge` with
// `host-local`, each called as a runtime calls it, one after the other and many at once.
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { formatTable } from '../../agent/cli/output.ts';
import { startPrivateHost } from '../../agent/cli/quickstart/private-host.ts';
import { type Comparison, formatComparisons, quantile } from './measure.ts';

const execute = promisify(execFile);
const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const REFERENCE = '/usr/lib/cni';
const ROUNDS = 100;
const WARM_UP = 5;
const AT_ONCE = 250;
const OURS = 'hfbench0';
const THEIRS = 'refbench0';

interface Side {
  readonly name: string;
  readonly command: readonly [string, ...string[]];
  readonly configuration: Readonly<Record<string, unknown>>;
  readonly environment: Readonly<Record<string, string>>;
}

interface Times {
  readonly add: number[];
  readonly del: number[];
}

/** One call of a plugin; a failure is an error with what the plugin said. */
async function call(
  { command: [program, ...args], configuration, environment }: Side,
  verb: 'ADD' | 'DEL',
  namespace: string,
  containerId: string,
): Promise<void> {
  const env = {
    ...environment,
    CNI_COMMAND: verb,
    CNI_CONTAINERID: containerId,
    CNI_NETNS: `/run/netns/${namespace}`,
    CNI_IFNAME: 'eth0',
    CNI_PATH: REFERENCE,
  };
  const child = spawn(program, args, { env, stdio: ['pipe', 'pipe', 'inherit'] });
  const chunks: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  child.stdin.end(JSON.stringify(configuration));
  const [code]: unknown[] = await once(child, 'close');
  if (code !== 0) throw new Error(`${program} ${verb}: ${Buffer.concat(chunks).toString()}`);
}

async function timed(work: () => Promise<void>, into: number[] | undefined): Promise<void> {
  const start = performance.now();
  await work();
  into?.push(performance.now() - start);
}

/** Alternately, so that whatever else the machine does hits all alike. */
async function inTurn(sides: readonly Side[], namespaces: readonly string[]): Promise<ReadonlyMap<string, Times>> {
  const times = new Map(sides.map(({ name }) => [name, { add: [], del: [] } as Times] as const));
  for (let round = -WARM_UP; round < ROUNDS; round += 1) {
    for (const offset of sides.keys()) {
      const index = (offset + Math.abs(round)) % sides.length;
      const [side, namespace] = [sides[index], namespaces[index]];
      if (side === undefined || namespace === undefined) continue;
      const into = round < 0 ? undefined : times.get(side.name);
      const id = `bench-${index}-${round + WARM_UP}`;
      await timed(() => call(side, 'ADD', namespace, id), into?.add);
      await timed(() => call(side, 'DEL', namespace, id), into?.del);
    }
  }
  return times;
}

async function allAtOnce(side: Side, namespaces: readonly string[]): Promise<readonly string[]> {
  const cells: string[] = [side.name];
  for (const verb of ['ADD', 'DEL'] as const) {
    const each: number[] = [];
    const start = performance.now();
    await Promise.all(
      namespaces.map((namespace, index) => timed(() => call(side, verb, namespace, `many-${index}`), each)),
    );
    const total = performance.now() - start;
    cells.push(
      `${total.toFixed(0)} ms`,
      `${quantile(each, 0.5).toFixed(0)} ms`,
      `${quantile(each, 0.99).toFixed(0)} ms`,
    );
  }
  return cells;
}

function compareTo(
  reference: string,
  name: string,
  times: ReadonlyMap<string, Times>,
): readonly [Comparison, Comparison] {
  const [baseline, holdfast] = [times.get(reference), times.get(name)];
  if (baseline === undefined || holdfast === undefined) throw new Error('every side was measured');
  const subject = (verb: string): string => `${verb}, ${name} against ${reference}`;
  return [
    { subject: subject('ADD'), baseline: baseline.add, holdfast: holdfast.add },
    { subject: subject('DEL'), baseline: baseline.del, holdfast: holdfast.del },
  ];
}

/** Goes on after a failure, and says what is left. */
async function cleanUp(program: string, ...args: readonly string[]): Promise<void> {
  await execute(program, args).catch((error: unknown) =>
    process.stderr.write(`bench: left behind: ${String(error)}\n`),
  );
}

async function launcher(directory: string): Promise<string> {
  const output = join(directory, 'launcher');
  await execute('cc', ['-std=c11', '-O2', '-static', '-o', output, join(ROOT, 'cni-plugin', 'launcher.c')]);
  return output;
}

async function measure(directory: string, agentDirectory: string): Promise<void> {
  const names = Array.from({ length: AT_ONCE }, (_, index) => `hfbench-${process.pid}-${index}`);
  const environment = { PATH: process.env['PATH'] ?? '', HOLDFAST_CNI_SOCKET: join(agentDirectory, 'run', 'cni.sock') };
  const reference = (name: string, ipMasq: boolean): Side => ({
    name,
    command: [join(REFERENCE, 'bridge')],
    environment,
    configuration: {
      cniVersion: '1.0.0',
      name,
      type: 'bridge',
      bridge: THEIRS,
      isGateway: true,
      ipMasq,
      ipam: { type: 'host-local', ranges: [[{ subnet: '198.18.0.0/22' }]], dataDir: join(directory, name) },
    },
  });
  const ours = (name: string, command: Side['command']): Side => ({
    name,
    command,
    environment,
    configuration: { cniVersion: '1.0.0', name: 'bench', type: 'holdfast', bridge: OURS },
  });
  const sides = [
    reference('reference', true),
    reference('without-masquerading', false),
    ours('launcher', [await launcher(directory)]),
    ours('Node', [process.execPath, join(ROOT, 'dist', 'cni-plugin', 'main.js')]),
  ] as const;
  const [masqueraded, plain, fast] = sides;
  try {
    for (const name of names) await execute('ip', ['netns', 'add', name]);
    const times = await inTurn(sides, names);
    const rows = [
      ...compareTo(masqueraded.name, fast.name, times),
      ...compareTo(masqueraded.name, 'Node', times),
      ...compareTo(plain.name, fast.name, times),
    ];
    process.stdout.write(formatComparisons({ baseline: 'reference', holdfast: 'holdfast' }, rows));
    process.stdout.write(`\n${AT_ONCE} pods at once:\n\n`);
    const many = [];
    for (const side of [masqueraded, fast]) many.push(await allAtOnce(side, names));
    const headings = ['plugin', 'all ADD', 'ADD p50', 'ADD p99', 'all DEL', 'DEL p50', 'DEL p99'];
    process.stdout.write(formatTable(headings, many));
  } finally {
    for (const name of names) await cleanUp('ip', 'netns', 'delete', name);
  }
}

export async function run(): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'holdfast-bench-cni-'));
  const subnets = [{ cidr: '198.19.0.0/22', gateway: '198.19.0.1' }];
  const network = { pools: { bench: { subnets, masquerade: true } }, cooldown: '0s' };
  const host = await startPrivateHost({ config: { network } });
  try {
    await measure(directory, host.containerd.directory);
  } finally {
    await host.stop();
    for (const bridge of [OURS, THEIRS]) await cleanUp('ip', 'link', 'delete', bridge);
    await cleanUp('nft', 'delete', 'table', 'inet', 'holdfast');
    await rm(directory, { recursive: true, force: true });
  }
}
