// The rules of the architecture, as far as they can be seen in imports. Each rule has the sentence that a developer
// reads when it is broken.
import { basename } from 'node:path';
import { findCycles, type Import } from './import-graph.ts';

export interface Violation {
  readonly import: string;
  readonly rule: string;
}

export const FEATURES = [
  'topology',
  'cpuset',
  'reuse',
  'network',
  'configmap',
  'lvm',
  'eviction',
  'resources',
  'patrol',
] as const;

/** Modules that reach beyond this process: files, programs, sockets, the kernel. */
const OUTSIDE = new Set([
  'node:child_process',
  'node:cluster',
  'node:dgram',
  'node:dns',
  'node:fs',
  'node:fs/promises',
  'node:http',
  'node:http2',
  'node:https',
  'node:inspector',
  'node:net',
  'node:os',
  'node:readline',
  'node:readline/promises',
  'node:tls',
  'node:v8',
  'node:vm',
  'node:worker_threads',
  '@grpc/grpc-js',
  'koffi',
  'lmdb',
  '@kubernetes/client-node',
  'systeminformation',
]);

/** The only folders of the agent that may touch the host, the runtime, the cluster or the disk. */
const OUTSIDE_FOLDERS = ['agent/host/', 'agent/runtime/', 'agent/cluster/', 'agent/state/'];

/**
 * The agent's edges, where the process meets those who start and ask it: what each needs of the outside is listed.
 * `agent/cli` is the terminal's side: it asks the agent, reads the files it is told to, and quickstart plays the host.
 */
const EDGES: ReadonlyMap<string, ReadonlySet<string>> = new Map([
  ['agent/config/', new Set(['node:fs', 'node:fs/promises', 'node:os'])],
  ['agent/api/', new Set(['node:fs/promises', 'node:net', 'node:tls', 'node:http', '@grpc/grpc-js'])],
  ['agent/cli/', OUTSIDE],
  ['agent/main.ts', OUTSIDE],
  ['agent/wiring.ts', OUTSIDE],
  ['agent/wiring/', OUTSIDE],
  ['extender/agents/', new Set(['@grpc/grpc-js'])],
  ['extender/http/', new Set(['node:http', 'node:https', 'node:net', 'node:tls'])],
]);

/** What the extender has in common with the agent: nouns, the planner, the cluster's API, configuration files, the log. */
const EXTENDER_MAY_KNOW = [
  'extender/',
  'lib/',
  'proto/gen/',
  'agent/model/',
  'agent/cluster/',
  'agent/config/',
  'agent/log.ts',
  'agent/api/metrics-server.ts',
  'agent/lifecycle/plan-policy.ts',
  'agent/cpuset/plan-',
  'agent/cpuset/machine.ts',
  'agent/cpuset/room.ts',
  'agent/cpuset/holding.ts',
  'agent/cpuset/pod-asks.ts',
];

const isBelow = (file: string, folders: readonly string[]): boolean =>
  folders.some((folder) => file.startsWith(folder));

export function featureOf(file: string): string | undefined {
  const folder = /^agent\/([^/]+)\//.exec(file)?.[1];
  return FEATURES.find((feature) => feature === folder);
}

/** Whether a file holds decisions: `plan.ts`, `plan-….ts`. The command `holdfast plan` is not one. */
function isPlan(file: string): boolean {
  return /^plan(?:-[a-z-]+)?\.ts$/.test(basename(file)) && !file.startsWith('agent/cli/');
}

function mayReachOutside(file: string, module: string): boolean {
  if (isBelow(file, ['lib/', 'cri-shim/', 'cni-plugin/', ...OUTSIDE_FOLDERS])) return true;
  return [...EDGES].some(([place, modules]) => file.startsWith(place) && modules.has(module));
}

/** The numbers of the gRPC statuses are a vocabulary, not a way out. */
function isOutside({ to, typeOnly, names }: Import): boolean {
  const onlyStatus = to === '@grpc/grpc-js' && names.length > 0 && names.every((name) => name === 'status');
  return OUTSIDE.has(to) && !typeOnly && !onlyStatus;
}

/** A rule looks at one import and says what is wrong with it, or nothing. */
type Rule = (edge: Import) => string | undefined;

const RULES: readonly Rule[] = [
  ({ from, to }) => {
    const [feature, other] = [featureOf(from), featureOf(to)];
    return feature !== undefined && other !== undefined && feature !== other
      ? `feature ${feature} must not know feature ${other}; they meet in the lifecycle pipeline and in agent/model`
      : undefined;
  },
  ({ from, to }) =>
    to === 'agent/wiring.ts' && from !== 'agent/daemon.ts'
      ? 'only daemon.ts, the life of the agent, knows wiring.ts'
      : undefined,
  ({ from, to }) =>
    to.startsWith('agent/wiring/') && from !== 'agent/wiring.ts' && !from.startsWith('agent/wiring/')
      ? 'agent/wiring/ is for wiring.ts alone'
      : undefined,
  ({ from, to }) =>
    to === 'agent/main.ts' || to === 'cri-shim/main.ts' ? `${from} must not load a program's entry point` : undefined,
  (edge) =>
    isPlan(edge.from) && (isOutside(edge) || (!edge.typeOnly && isBelow(edge.to, OUTSIDE_FOLDERS)))
      ? 'decisions are pure: a plan file imports nothing that does I/O'
      : undefined,
  (edge) =>
    isOutside(edge) && !mayReachOutside(edge.from, edge.to)
      ? 'only host/, runtime/, cluster/, state/ and lib/ touch the outside world, and the edges what they are listed with'
      : undefined,
  ({ from, to }) =>
    from.startsWith('agent/model/') && !isBelow(to, ['agent/model/', 'lib/']) && to !== 'ipaddr.js'
      ? 'agent/model holds nouns: it imports only lib/, and how addresses are written'
      : undefined,
  ({ from, to, external }) =>
    from.startsWith('lib/') && !external && !isBelow(to, ['lib/', 'proto/gen/wire/'])
      ? 'lib/ has no product knowledge'
      : undefined,
  ({ from, to }) =>
    isBelow(from, OUTSIDE_FOLDERS) &&
    (featureOf(to) !== undefined || isBelow(to, ['agent/lifecycle/', 'agent/api/', 'agent/cli/']))
      ? 'the doors to the outside world know neither features nor the pipeline'
      : undefined,
  ({ from, to }) =>
    (featureOf(from) !== undefined || from.startsWith('agent/lifecycle/')) && isBelow(to, ['agent/api/', 'agent/cli/'])
      ? 'features and the pipeline do not know how they are asked'
      : undefined,
  ({ from, to, external }) =>
    from.startsWith('agent/published/') &&
    !external &&
    !isBelow(to, ['agent/published/', 'agent/model/', 'lib/', 'proto/gen/'])
      ? 'agent/published/ tells one story: it derives everything from the published messages'
      : undefined,
  ({ from, to, external }) =>
    from.startsWith('cri-shim/') && !external && !isBelow(to, ['cri-shim/', 'lib/', 'proto/gen/', 'agent/model/'])
      ? 'the cri-shim imports lib/, proto/gen/ and agent/model/ only'
      : undefined,
  ({ from, to }) =>
    from.startsWith('agent/') && isBelow(to, ['cri-shim/', 'cni-plugin/'])
      ? 'the agent and the programs beside it share no code of their own'
      : undefined,
  ({ from, to, external }) =>
    from.startsWith('extender/') && !external && !isBelow(to, EXTENDER_MAY_KNOW)
      ? "the extender knows the agent's published messages and its planner, not its insides"
      : undefined,
  ({ from, to }) =>
    from.startsWith('agent/') && to.startsWith('extender/') && from !== 'agent/cli/commands.ts'
      ? 'the agent does not know the extender; the command line starts it'
      : undefined,
  ({ from, to, external }) =>
    from.startsWith('cni-plugin/') && (external ? !to.startsWith('node:') : !to.startsWith('cni-plugin/'))
      ? 'the cni-plugin imports Node.js built-ins only'
      : undefined,
  ({ to, external }) =>
    !external && isBelow(to, ['test/', 'scripts/', 'bin/', 'dist/', 'node_modules/'])
      ? 'programs import sources, not tests, scripts or builds'
      : undefined,
];

/** A plan file is also pure through what it imports: none of the agent's doors to the outside may be reachable. */
function impureReaches(imports: readonly Import[]): readonly Violation[] {
  const targets = new Map<string, string[]>();
  for (const edge of imports) {
    const leadsOn = edge.external ? isOutside(edge) : !edge.typeOnly;
    if (leadsOn) targets.set(edge.from, [...(targets.get(edge.from) ?? []), edge.to]);
  }
  const reach = (file: string, path: readonly string[], seen: Set<string>): readonly string[] | undefined => {
    // What lib/ needs of its libraries does no I/O by being imported.
    if (seen.has(file) || file.startsWith('lib/')) return undefined;
    seen.add(file);
    if (path.length > 1 && (OUTSIDE.has(file) || isBelow(file, OUTSIDE_FOLDERS))) return [...path, file];
    for (const target of targets.get(file) ?? []) {
      const found = reach(target, [...path, file], seen);
      if (found !== undefined) return found;
    }
    return undefined;
  };
  return [...targets.keys()].filter(isPlan).flatMap((file) => {
    const path = reach(file, [], new Set());
    const rule = 'decisions are pure: a plan file imports nothing that does I/O, not by way of others either';
    return path === undefined ? [] : [{ import: path.join(' → '), rule }];
  });
}

/** Everything that is wrong with the imports of a repository. */
export function checkImports(imports: readonly Import[]): readonly Violation[] {
  const direct = imports.flatMap((edge) =>
    RULES.flatMap((rule): Violation[] => {
      const broken = rule(edge);
      return broken === undefined ? [] : [{ import: `${edge.from} → ${edge.to}`, rule: broken }];
    }),
  );
  const cycles = findCycles(imports).map((cycle) => ({
    import: [...cycle, cycle[0]].join(' → '),
    rule: 'imports have no cycles',
  }));
  return [...direct, ...impureReaches(imports), ...cycles];
}
