// What installing does for pods with stateful addresses: our plugin where the runtime looks for plugins, and, only where
// that is asked for, the network that makes new pods use it. Pure.
import type { Compiler } from '../host/compile-launcher.ts';
import type { HostPath } from '../host/host-files.ts';
import {
  type CniFacts,
  type FoundPlugin,
  isOursUnchanged,
  type NetworkFile,
  pluginPath,
  readNetwork,
  usesOurPlugin,
} from './cni-facts.ts';
import type { InstallFacts } from './facts.ts';
import { LAYOUT } from './layout.ts';
import { digestText, type Manifest } from './manifest.ts';
import { type FileRecord, planFiles } from './plan-files.ts';
import type { Blocker, Step } from './step.ts';
import {
  isRenderedNetwork,
  networkPath,
  PLUGIN_MODE,
  PLUGIN_SCRIPT,
  renderNetwork,
  type WantedNetwork,
} from './wanted-cni.ts';

/** `auto`: the launcher where it can be compiled, else the Node form; what is in place and as it should be stays. */
export type PluginChoice = 'auto' | 'launcher' | 'node' | 'none';

export interface CniOptions {
  /** undefined: as it was chosen before. */
  readonly plugin?: PluginChoice;
  readonly network?: WantedNetwork;
  /** As it was tried; undefined where no launcher is to be compiled. */
  readonly compiler?: Compiler | { readonly problem: string };
}

export interface CniPlan {
  readonly steps: readonly Step[];
  readonly blockers: readonly Blocker[];
  readonly notes: readonly string[];
  /** For the manifest; undefined: nothing to be remembered. */
  readonly record: Manifest['cni'];
  readonly files: Readonly<Record<string, FileRecord>>;
}

const NOTHING: CniPlan = { steps: [], blockers: [], notes: [], record: undefined, files: {} };
const PAGE = 'docs/stateful-ip.md';

export function choiceOf({ manifest }: InstallFacts, { plugin }: CniOptions): PluginChoice {
  return plugin ?? manifest?.cni?.choice ?? 'auto';
}

/** Of the runtime's directories the first that is there: it wins over those behind it. */
function targetDirectory({ directories, present }: CniFacts): string {
  return directories.plugins.find((path) => present.has(path)) ?? directories.plugins[0] ?? '/opt/cni/bin';
}

/** Where our plugin is to be; undefined where none is to be. */
export function pluginTarget(facts: InstallFacts, options: CniOptions): string | undefined {
  const { cni, manifest } = facts;
  const isAsked = options.plugin !== undefined || options.network !== undefined;
  const path = pluginPath(targetDirectory(cni));
  const found = cni.plugins.get(path);
  const isOurs = found !== undefined && isOursUnchanged(found, path, PLUGIN_SCRIPT, manifest);
  const isWanted = cni.pools.length > 0 || isAsked || isOurs;
  return choiceOf(facts, options) === 'none' || !isWanted ? undefined : path;
}

function isCurrentLauncher(found: FoundPlugin | undefined, mark: string | undefined): boolean {
  return found?.kind === 'launcher' && found.mark === mark && found.mode === PLUGIN_MODE;
}

function isCurrentScript(found: FoundPlugin | undefined): boolean {
  return found?.kind === 'script' && found.text === PLUGIN_SCRIPT && found.mode === PLUGIN_MODE;
}

/** Whether a compiler has to be looked for before the plan can be made. */
export function needsCompiler(facts: InstallFacts, mark: string | undefined, options: CniOptions): boolean {
  const path = pluginTarget(facts, options);
  if (path === undefined || mark === undefined) return false;
  const choice = choiceOf(facts, options);
  const found = facts.cni.plugins.get(path);
  if (choice === 'node' || isCurrentLauncher(found, mark)) return false;
  return choice === 'launcher' || !isCurrentScript(found);
}

/** Why nothing of ours can be at the path; undefined when it can. */
function placeBlocker(path: string, facts: InstallFacts, overwrite: boolean): Blocker | undefined {
  const { cni, manifest } = facts;
  const { directories, present, plugins } = cni;
  const directory = targetDirectory(cni);
  const none = `--cni-plugin=none installs without the plugin`;
  if (directories.problem !== undefined) {
    const text = `where the runtime looks for CNI plugins cannot be read: ${directories.problem}`;
    return { text, remedy: `put it right; ${none}` };
  }
  if (!present.has(directory)) {
    const text = `${directory}, where the runtime looks for CNI plugins (${directories.source}), is not there`;
    const remedy = `install the standard plugins (Debian package containernetworking-plugins), or set bin_dir of containerd's CRI plugin to where they are; ${none}`;
    return { text, remedy };
  }
  const found = plugins.get(path);
  const isPutBeside = found !== undefined && !isOursUnchanged(found, path, PLUGIN_SCRIPT, manifest);
  if (!isPutBeside) return undefined;
  if (found.kind === 'foreign') {
    return { text: `${path} is ${found.what} of somebody else's`, remedy: `move it away; ${none}` };
  }
  if (overwrite) return undefined;
  const what = found.kind === 'script' ? 'was changed since it was installed' : 'was put there by hand';
  return { text: `${path} ${what}`, remedy: `move it away, or install with --overwrite; ${none}` };
}

interface Form {
  readonly steps: readonly Step[];
  readonly notes: readonly string[];
  readonly blockers: readonly Blocker[];
}

function scriptForm(path: string, found: FoundPlugin | undefined, why: string): Form {
  if (isCurrentScript(found)) return { steps: [], notes: [], blockers: [] };
  const before = found?.kind === 'script' ? { before: { text: found.text, mode: found.mode } } : {};
  const step: Step = { do: 'write', path, text: PLUGIN_SCRIPT, mode: PLUGIN_MODE, ...before, note: why };
  return { steps: [step], notes: [], blockers: [] };
}

const LINKED = { 'static-pie': 'linked statically', static: 'linked statically', dynamic: 'linked with the C library' };

function planForm(
  path: string,
  facts: InstallFacts,
  program: { readonly target: string; readonly launcherMark?: string },
  options: CniOptions,
): Form {
  const found = facts.cni.plugins.get(path);
  const choice = choiceOf(facts, options);
  const { launcherMark: mark } = program;
  const { compiler } = options;
  if (choice === 'node') return scriptForm(path, found, 'the Node form, as --cni-plugin=node says');
  if (isCurrentLauncher(found, mark)) return { steps: [], notes: [], blockers: [] };
  if (choice === 'auto' && isCurrentScript(found)) return { steps: [], notes: [], blockers: [] };
  if (mark !== undefined && compiler !== undefined && !('problem' in compiler)) {
    const source = `${program.target}/cni-plugin/launcher.c`;
    const note = `with ${compiler.program}, ${LINKED[compiler.linking]}`;
    const isThere = found !== undefined;
    return { steps: [{ do: 'place-launcher', path, source, mark, compiler, isThere, note }], notes: [], blockers: [] };
  }
  const problem =
    compiler !== undefined && 'problem' in compiler ? compiler.problem : 'the program has no launcher to be compiled';
  if (choice === 'auto') return scriptForm(path, found, `the Node form, which starts slower: ${problem}`);
  const remedy = 'install gcc and libc6-dev (Debian), or say --cni-plugin=node for the form that needs no compiler';
  return { steps: [], notes: [], blockers: [{ text: `the launcher cannot be compiled: ${problem}`, remedy }] };
}

/** Which pool the network names; the default one where it needs to name none. */
function poolFor({ pools, hasDefaultPool }: CniFacts, name: string): { readonly pool?: string } | Blocker {
  if (pools.length > 1 && pools.includes(name)) return { pool: name };
  if (pools.length === 1 || hasDefaultPool) return {};
  if (pools.length === 0) {
    const text = `the configuration has no pools: pods of network ${name} would get no addresses`;
    return { text, remedy: `set network.pools in ${LAYOUT.config} first (${PAGE})` };
  }
  const text = `network ${name} would have no pool: the configuration has several (${pools.join(', ')}), and no default`;
  return { text, remedy: 'name the network as one of them, or set network.defaultPool' };
}

/** The network that the runtime would take for pods if ours were not there. */
function rivals({ networks }: CniFacts, path: string): { readonly before?: string; readonly after?: string } {
  const others = networks.filter((file) => file.path !== path);
  const before = others.find((file) => file.path < path)?.path;
  const after = others.find((file) => file.path > path)?.path;
  return { ...(before && { before }), ...(after && { after }) };
}

function usesOurs(file: NetworkFile): boolean {
  const network = readNetwork(file);
  return network !== undefined && usesOurPlugin(network);
}

/** The record of a network that an installation wrote whose manifest is lost. */
function rewritten(path: string, found: HostPath | undefined): FileRecord | undefined {
  const isOurs = found?.kind === 'file' && isRenderedNetwork(path, found.text);
  return isOurs ? { digests: [digestText(found.text)] } : undefined;
}

function planNetwork(facts: InstallFacts, wanted: WantedNetwork, overwrite: boolean): CniPlan {
  const { cni, manifest, paths } = facts;
  const path = networkPath(cni);
  const pool = poolFor(cni, wanted.name);
  if ('text' in pool) return { ...NOTHING, blockers: [pool] };
  const found = paths.get(path);
  const text = renderNetwork(wanted, pool.pool, cni.otherPlugins);
  const known = manifest?.files[path] ?? rewritten(path, found);
  if (known === undefined && found !== undefined) {
    const what = found.kind === 'file' ? 'there already, and not by holdfast install' : `a ${found.kind}`;
    return { ...NOTHING, blockers: [{ text: `${path} is ${what}`, remedy: 'move it away' }] };
  }
  const at = new Map(found === undefined ? [] : [[path, found] as const]);
  // What somebody made of our network may be replaced when that is asked for; another network never.
  const isOurs = found?.kind === 'file' && usesOurs({ path, text: found.text });
  const records = known === undefined ? {} : { [path]: known };
  const file = planFiles([{ path, text, mode: 0o644 }], at, records, { overwrite: overwrite && isOurs });
  const { before, after } = rivals(cni, path);
  const missing = ['portmap', 'bandwidth'].filter((name) => !cni.otherPlugins.has(name));
  const notes = [
    ...(file.steps.length > 0
      ? [`${path} changes the network of the node's new pods; those that run keep theirs`]
      : []),
    ...(before === undefined ? [] : [`${before} sorts before ${path}: the runtime goes on to use that one`]),
    ...(before === undefined && after !== undefined && file.steps.length > 0
      ? [`new pods no longer get the network of ${after}`]
      : []),
    ...missing.map((name) => `the network is without ${name}, which is not in ${targetDirectory(cni)}`),
  ];
  return { ...NOTHING, steps: file.steps, blockers: file.blockers, notes, files: file.records };
}

/** What is left to be done by people. */
function remaining({ cni }: InstallFacts): readonly string[] {
  if (cni.networks.some(usesOurs) || cni.pools.length === 0) return [];
  const path = networkPath(cni);
  return [
    `no network of the runtime uses the CNI plugin yet: install with --cni-network=<name> to place ${path}, which changes the network of new pods, or write one (${PAGE})`,
  ];
}

/** Where an earlier installation put it and the runtime does not look any more. */
function strayPlugin({ cni, manifest }: InstallFacts, path: string): readonly Step[] {
  const earlier = manifest?.cni?.plugin;
  if (earlier === undefined || earlier === path) return [];
  const found = cni.plugins.get(earlier);
  const isOurs = found !== undefined && isOursUnchanged(found, earlier, PLUGIN_SCRIPT, manifest);
  return isOurs ? [{ do: 'remove', path: earlier, note: 'the runtime looks elsewhere' }] : [];
}

export function planCni(
  facts: InstallFacts,
  program: { readonly target: string; readonly launcherMark?: string },
  options: CniOptions,
  overwrite: boolean,
): CniPlan {
  const { cni, manifest } = facts;
  const choice = choiceOf(facts, options);
  const path = pluginTarget(facts, options);
  if (path === undefined) {
    const note = 'the CNI plugin is not placed, as --cni-plugin=none says';
    const network = options.network && {
      text: '--cni-network needs the plugin, which --cni-plugin=none leaves out',
      remedy: 'leave one of them out',
    };
    return {
      ...NOTHING,
      blockers: network === undefined ? [] : [network],
      notes: cni.pools.length > 0 ? [note] : [],
      record: choice === 'auto' ? manifest?.cni : { ...manifest?.cni, choice },
    };
  }
  const blocker = placeBlocker(path, facts, overwrite);
  const form =
    blocker === undefined ? planForm(path, facts, program, options) : { steps: [], notes: [], blockers: [blocker] };
  const directory = targetDirectory(cni);
  const readOnly: readonly Blocker[] =
    form.steps.length > 0 && cni.present.get(directory)?.isWritable === false
      ? [{ text: `nothing can be written into ${directory}`, remedy: 'mount it for writing, or say --cni-plugin=none' }]
      : [];
  const network = options.network === undefined ? NOTHING : planNetwork(facts, options.network, overwrite);
  const placed = Object.keys(network.files)[0] ?? manifest?.cni?.network;
  const isScript =
    form.steps.some((step) => step.do === 'write') ||
    (form.steps.length === 0 && isCurrentScript(cni.plugins.get(path)));
  const digests = [...new Set([digestText(PLUGIN_SCRIPT), ...(manifest?.files[path]?.digests ?? [])])];
  return {
    // The plugin first: the runtime takes a network as soon as it is there.
    steps: [...form.steps, ...network.steps, ...strayPlugin(facts, path)],
    blockers: [...form.blockers, ...readOnly, ...network.blockers],
    notes: [...form.notes, ...network.notes, ...(options.network === undefined ? remaining(facts) : [])],
    record: { choice, plugin: path, ...(placed === undefined ? {} : { network: placed }) },
    files: { ...(isScript ? { [path]: { digests } } : {}), ...network.files },
  };
}
