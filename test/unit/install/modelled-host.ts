// A host in memory on which plans are carried out step by step: what is at each path, which services run, what the kubelet
// was started with, what systemd has read of the units. Only what the planners go by.
import { posix } from 'node:path';
import type { HostPath } from '../../../agent/host/host-files.ts';
import type { HostTraces } from '../../../agent/host/network/host-traces.ts';
import { type CniFacts, classifyPlugin, NO_CNI } from '../../../agent/install/cni-facts.ts';
import type { InstallFacts, ServiceFacts } from '../../../agent/install/facts.ts';
import type { KubeletFacts } from '../../../agent/install/kubelet-facts.ts';
import { AGENT_UNIT, LAYOUT, SHIM_SOCKET_UNIT, SHIM_UNIT } from '../../../agent/install/layout.ts';
import type { Manifest } from '../../../agent/install/manifest.ts';
import type { WantedProgram } from '../../../agent/install/plan-install.ts';
import type { Step } from '../../../agent/install/step.ts';
import { launcherMark } from '../../../agent/install/wanted-cni.ts';

export type KubeletKind = 'none' | 'unit' | 'config-dir' | 'stopped';

export const UNITS: ReadonlyMap<string, string> = new Map([
  [AGENT_UNIT, 'agent unit\n'],
  [SHIM_UNIT, 'ExecStart=/usr/local/bin/holdfast cri-shim --upstream /run/containerd/containerd.sock\n'],
  [SHIM_SOCKET_UNIT, 'socket unit\n'],
  ['holdfast.sysusers.conf', 'g holdfast -\n'],
]);

export function program(name = '1.0.0-aaaaaaaaaaaa', units = UNITS): Omit<WantedProgram, 'isThere'> {
  return { root: '/src', target: `${LAYOUT.programs}/${name}`, units };
}

/** Each build has a launcher of its own. */
export function launcherMarkOf(target: string): string {
  return launcherMark(`launcher of ${target}`);
}

const CONFIG_DIRECTORY = '/etc/kubernetes/kubelet.conf.d';
const UNIT_DROP_IN = `${LAYOUT.units}/kubelet.service.d/99-holdfast.conf`;
export const PLUGIN = '/usr/lib/cni/holdfast';
export const NETWORK = '/etc/cni/net.d/10-holdfast.conflist';
const SERVICES = [AGENT_UNIT, SHIM_UNIT, SHIM_SOCKET_UNIT];

export class ModelledHost {
  readonly paths = new Map<string, HostPath>();
  readonly programs = new Set<string>();
  /** Every call, such as `systemctl restart kubelet.service`. */
  readonly calls: string[] = [];
  #kind: KubeletKind;
  readonly #active = new Map<string, string | undefined>();
  /** Services that end again and again, and are started anew by systemd. */
  readonly #failing = new Set<string>();
  /** Texts of units and of the kubelet's drop-in as systemd has last read them. */
  readonly #loaded = new Map<string, string>();
  /** Programs that do not come up. */
  readonly #broken = new Set<string>();
  readonly #units = new Map<string, ReadonlyMap<string, string>>();
  /** Of the configuration. */
  pools: readonly string[] = [];
  /** Beside ours, in the runtime's directory. */
  otherPlugins: readonly string[] = ['loopback', 'portmap', 'bandwidth'];
  /** The kernel's, once an agent with pools has run. */
  traces: HostTraces = { podInterfaces: 0, hasTable: false, rules: 0 };
  #hasGroup = false;
  /** The agent has confined containers. */
  #isConfined = false;
  /** What the running kubelet was started with. */
  #kubeletPointed = false;

  constructor(kind: KubeletKind) {
    this.#kind = kind;
  }

  /** What differs between two hosts, for comparing: files, services, group, kubelet. */
  state(): unknown {
    return {
      paths: [...this.paths].sort(([a], [b]) => (a < b ? -1 : 1)),
      programs: [...this.programs].sort(),
      active: [...this.#active].sort(([a], [b]) => (a < b ? -1 : 1)),
      failing: [...this.#failing].sort(),
      loaded: [...this.#loaded].sort(([a], [b]) => (a < b ? -1 : 1)),
      confined: this.#isConfined,
      group: this.#hasGroup,
      kubelet: this.#kubeletPointed,
      traces: this.traces,
    };
  }

  /** The kubelet would find nobody on its socket, or nobody any more once the shim is started again. */
  get isKubeletCutOff(): boolean {
    const current = this.paths.get(LAYOUT.current);
    const isThere = (program: string | undefined): boolean => this.programs.has(posix.basename(program ?? ''));
    const serves =
      this.#active.has(SHIM_SOCKET_UNIT) &&
      isThere(this.#active.get(SHIM_UNIT)) &&
      current?.kind === 'link' &&
      isThere(current.target);
    return this.#kubeletPointed && !serves;
  }

  get hasConfinedContainers(): boolean {
    return this.#isConfined;
  }

  /** The kubelet is set up in another way from now on. */
  become(kind: KubeletKind): void {
    this.#kind = kind;
  }

  /** Neither the agent nor the shim of that program comes up. */
  breakProgram(name: string): void {
    this.#broken.add(`${LAYOUT.programs}/${name}`);
  }

  /** The service ends, and systemd starts it again, and so on. */
  fail(unit: string): void {
    this.#active.delete(unit);
    this.#failing.add(unit);
  }

  wanted(name?: string, units?: ReadonlyMap<string, string>): WantedProgram {
    const base = program(name, units);
    this.#units.set(base.target, base.units);
    const launcherMark = launcherMarkOf(base.target);
    return { ...base, launcherMark, isThere: this.programs.has(posix.basename(base.target)) };
  }

  facts(): InstallFacts {
    const services = new Map<string, ServiceFacts>();
    for (const unit of SERVICES) {
      const state = this.#failing.has(unit) ? 'activating' : this.#active.has(unit) ? 'active' : 'inactive';
      services.set(unit, { state, program: this.#active.get(unit) });
    }
    const record = this.paths.get(LAYOUT.manifest);
    return {
      isLive: true,
      paths: this.paths,
      programs: [...this.programs],
      unfinished: [],
      foreign: [],
      manifest: record?.kind === 'file' ? (JSON.parse(record.text) as Manifest) : undefined,
      units: new Map([...this.#units].filter(([path]) => this.programs.has(posix.basename(path)))),
      hasGroup: this.#hasGroup,
      kubelet: this.#kubelet(),
      cni: this.#cni(),
      configuredRuntime: this.paths.has(LAYOUT.config) ? '/run/containerd/containerd.sock' : undefined,
      services,
    };
  }

  /** @throws Error when the step fails, or takes the runtime away from the kubelet */
  apply(step: Step): void {
    const wasCutOff = this.isKubeletCutOff;
    this.#perform(step);
    if (this.isKubeletCutOff && !wasCutOff) throw new Error(`the kubelet has no runtime after ${step.do}`);
  }

  #perform(step: Step): void {
    switch (step.do) {
      case 'record':
        this.#put(LAYOUT.manifest, { kind: 'file', text: JSON.stringify(step.manifest), mode: 0o600 });
        break;
      case 'copy-program':
        this.programs.add(posix.basename(step.to));
        this.paths.set(LAYOUT.programs, { kind: 'directory' });
        break;
      case 'write':
        this.#put(step.path, { kind: 'file', text: step.text, mode: step.mode });
        break;
      case 'link':
        this.#put(step.path, { kind: 'link', target: step.target });
        break;
      case 'remove':
        this.paths.delete(step.path);
        break;
      case 'remove-tree':
        this.#removeTree(step.path);
        break;
      case 'remove-empty':
        if (this.programs.size === 0) this.paths.delete(step.path);
        break;
      case 'run':
        this.#run(step.program, step.args);
        break;
      case 'await-kubelet':
        if (this.#kubeletPointed !== step.pointed) throw new Error(`the kubelet is pointed: ${this.#kubeletPointed}`);
        break;
      case 'await-agent':
        if (!this.#active.has(AGENT_UNIT)) throw new Error('no agent runs');
        break;
      case 'await-shim':
        if (!this.#active.has(SHIM_UNIT) || !this.#active.has(SHIM_SOCKET_UNIT)) throw new Error('no shim runs');
        break;
      case 'release-cpus':
        if (this.#active.has(AGENT_UNIT) || this.#failing.has(AGENT_UNIT))
          throw new Error('the agent would put the CPUs back');
        this.#isConfined = false;
        break;
      case 'drop-layers':
        break;
      case 'place-launcher':
        if (!this.programs.has(posix.basename(posix.dirname(posix.dirname(step.source)))))
          throw new Error(`${step.source} is absent`);
        this.#put(step.path, { kind: 'file', text: `\u007FELF ${step.mark}`, mode: 0o755 });
        break;
      case 'clear-network':
        if (this.#active.has(AGENT_UNIT)) throw new Error('the agent would make it again');
        this.traces = { ...this.traces, hasTable: false, rules: 0 };
        break;
    }
  }

  #cni(): CniFacts {
    const found = this.paths.get(PLUGIN);
    const plugins = found?.kind === 'file' ? [[PLUGIN, classifyPlugin(found.text, found.mode)] as const] : [];
    const networks = [...this.paths].flatMap(([path, file]) =>
      path.startsWith('/etc/cni/net.d/') && file.kind === 'file' ? [{ path, text: file.text }] : [],
    );
    return {
      ...NO_CNI,
      pools: this.pools,
      directories: { plugins: ['/usr/lib/cni'], networks: '/etc/cni/net.d', source: 'by a test' },
      present: new Map([['/usr/lib/cni', { isWritable: true }]]),
      plugins: new Map(plugins),
      otherPlugins: new Set(this.otherPlugins),
      networks: networks.sort((a, b) => (a.path < b.path ? -1 : 1)),
    };
  }

  #put(path: string, found: HostPath): void {
    this.paths.set(path, found);
    for (const tree of [LAYOUT.state, LAYOUT.configuration, LAYOUT.programs]) {
      if (path.startsWith(`${tree}/`)) this.paths.set(tree, { kind: 'directory' });
    }
  }

  #removeTree(path: string): void {
    this.programs.delete(posix.basename(path));
    if (path === LAYOUT.programs) this.programs.clear();
    for (const each of this.paths.keys()) {
      if (each === path || each.startsWith(`${path}/`)) this.paths.delete(each);
    }
  }

  #run(name: string, args: readonly string[]): void {
    this.calls.push([name, ...args].join(' '));
    const [verb = '', ...units] = args;
    if (name.startsWith(`${LAYOUT.programs}/`)) {
      if (!this.programs.has(posix.basename(posix.dirname(posix.dirname(name))))) throw new Error(`${name} is absent`);
    } else if (name === 'systemd-sysusers') this.#hasGroup = true;
    else if (name === 'groupdel') this.#hasGroup = false;
    else if (verb === 'daemon-reload') this.#reload();
    else for (const unit of units) this.#service(verb, unit);
  }

  #reload(): void {
    this.#loaded.clear();
    for (const path of [...SERVICES.map((unit) => `${LAYOUT.units}/${unit}`), UNIT_DROP_IN]) this.#load(path);
  }

  #load(path: string): void {
    const found = this.paths.get(path);
    if (found?.kind === 'file') this.#loaded.set(path, found.text);
  }

  #service(verb: string, unit: string): void {
    if (unit === 'kubelet.service') {
      // Of its own configuration the kubelet reads what is there, of its unit what systemd has read.
      this.#kubeletPointed = this.#loaded.has(UNIT_DROP_IN) || this.paths.has(`${CONFIG_DIRECTORY}/99-holdfast.conf`);
      return;
    }
    // A start joins the one that is under way, of the program as it was then.
    if (verb === 'start' && this.#failing.has(unit)) return;
    this.#failing.delete(unit);
    if (verb === 'stop') this.#active.delete(unit);
    else this.#start(unit);
  }

  #start(unit: string): void {
    const path = `${LAYOUT.units}/${unit}`;
    const file = this.paths.get(path);
    if (file?.kind !== 'file') throw new Error(`${unit} is not installed`);
    if (!this.#loaded.has(path)) this.#load(path);
    if (this.#loaded.get(path) !== file.text) throw new Error(`${unit} has changed, and systemd has not read it again`);
    if (unit === SHIM_SOCKET_UNIT) {
      this.#active.set(unit, undefined);
      this.paths.set(LAYOUT.run, { kind: 'directory' });
      return;
    }
    const current = this.paths.get(LAYOUT.current);
    const target = current?.kind === 'link' ? current.target : '';
    if (this.#broken.has(target)) {
      this.fail(unit);
      throw new Error(`${unit} of ${target} does not come up`);
    }
    this.#active.set(unit, target);
    if (unit !== AGENT_UNIT) return;
    this.#isConfined = true;
    if (this.pools.length > 0) this.traces = { ...this.traces, hasTable: true, rules: 2 };
  }

  #isFileThere(): boolean {
    return [...this.paths.keys()].some((path) => path.endsWith('/99-holdfast.conf'));
  }

  #kubelet(): KubeletFacts | undefined {
    if (this.#kind === 'none') return undefined;
    const isRunning = this.#kind !== 'stopped';
    // Of a configuration drop-in nobody can tell whether the kubelet has read it.
    const pointed = isRunning && this.#kind === 'unit' ? this.#kubeletPointed : this.#isFileThere();
    return {
      embedded: undefined,
      pid: isRunning ? 77 : undefined,
      unit: { name: 'kubelet.service', commands: ['/usr/bin/kubelet $KUBELET_ARGS'] },
      endpoint: 'unix:///run/containerd/containerd.sock',
      endpointByFlag: false,
      configDirectory: this.#kind === 'config-dir' ? CONFIG_DIRECTORY : undefined,
      laterDropIn: undefined,
      laterUnitDropIn: undefined,
      pointed,
      cpuManagerPolicy: 'none',
    };
  }
}
