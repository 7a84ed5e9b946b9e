// A node for tests of the cpuset feature: a runtime in memory, cgroups as plain files or those of the kernel, and the
// lifecycle steps in the order in which the shim asks them.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { type CpusetFeature, createCpuset } from '../../agent/cpuset/feature.ts';
import { openCgroups } from '../../agent/host/cgroupfs.ts';
import type { Contribution } from '../../agent/lifecycle/adjustment.ts';
import type { ContainerCreating } from '../../agent/lifecycle/feature.ts';
import { CpuSet } from '../../agent/model/cpu-set.ts';
import type { HostTopology } from '../../agent/model/host-topology.ts';
import { type ContainerId, containerId, podUid, sandboxId } from '../../agent/model/ids.ts';
import type { ContainerSpec, Pod, ResourceNeed } from '../../agent/model/pod.ts';
import { type ContainerPolicy, DEFAULT_POLICY, policyOf } from '../../agent/model/policy.ts';
import { bytes, milliCpu } from '../../agent/model/quantity.ts';
import type { ContainerRuntime, OciSpec } from '../../agent/runtime/runtime.ts';
import type { Change, Store, Table } from '../../agent/state/store.ts';
import { type FakeRuntime, fakeContainer, fakeRuntime, fakeSandbox } from './fake-runtime.ts';

/** Records in memory, JSON in and out as on a disk; outlives the agent that wrote them. */
export class MemoryStore implements Store {
  readonly tables = new Map<string, Map<string, string>>();
  /** Thrown by the next commit. */
  failure: Error | undefined;
  commits = 0;

  entries<Value>(table: Table<Value>): ReadonlyMap<string, Value> {
    const records = new Map<string, Value>();
    for (const [key, text] of this.tables.get(table.name) ?? []) {
      const parsed = table.schema.safeParse(JSON.parse(text));
      // The store sets aside what does not have its table's shape.
      if (parsed.success) records.set(key, parsed.data);
    }
    return records;
  }

  async commit(changes: readonly Change[]): Promise<void> {
    await Promise.resolve();
    const { failure } = this;
    this.failure = undefined;
    if (failure !== undefined) throw failure;
    this.commits += 1;
    for (const change of changes) {
      const table = this.tables.get(change.table.name) ?? new Map<string, string>();
      this.tables.set(change.table.name, table);
      if (change.kind === 'delete') table.delete(change.key);
      else table.set(change.key, JSON.stringify(change.value));
    }
  }

  async close(): Promise<void> {}
}

export interface PodShape {
  readonly uid: string;
  readonly policy?: Partial<ContainerPolicy>;
  readonly containers?: Readonly<Record<string, Partial<ContainerPolicy>>>;
  /** From PodSource; without it the pod is unknown there. */
  readonly spec?: readonly ContainerSpec[];
  readonly sums?: ResourceNeed;
}

export function makePod({ uid, policy = {}, containers = {}, spec, sums }: PodShape): Pod {
  const podWide = { ...DEFAULT_POLICY, ...policy };
  const own = Object.entries(containers).map(([name, overrides]): [string, ContainerPolicy] => [
    name,
    { ...podWide, ...overrides, numaScope: overrides.numa === undefined ? 'pod' : 'container' },
  ]);
  return {
    uid: podUid(uid),
    namespace: 'default',
    name: `pod-${uid}`,
    labels: new Map(),
    annotations: new Map(),
    policy: { ...podWide, containers: new Map(own) },
    cgroupParent: '',
    sandboxResources: sums ?? { hugepages: new Map() },
    ...(spec === undefined
      ? {}
      : {
          facts: {
            uid: podUid(uid),
            namespace: 'default',
            name: `pod-${uid}`,
            labels: new Map(),
            annotations: new Map(),
            containers: spec,
            deleting: false,
            finished: false,
          },
        }),
  };
}

/** @param cpus - request and limit, in CPUs @param memory - request and limit, in bytes */
export function makeNeed(cpus: number | undefined, memory?: number): ResourceNeed {
  return {
    ...(cpus === undefined ? {} : { cpuRequest: milliCpu(cpus * 1000), cpuLimit: milliCpu(cpus * 1000) }),
    ...(memory === undefined ? {} : { memoryRequest: bytes(memory), memoryLimit: bytes(memory) }),
    hugepages: new Map(),
  };
}

/** Everything an agent reaches the world through stops answering when the agent is dead. */
function mortal<Target extends object>(target: Target, isDead: () => boolean): Target {
  return new Proxy(target, {
    get(object, key, receiver) {
      const value: unknown = Reflect.get(object, key, receiver);
      if (typeof value !== 'function') return value;
      return (...args: readonly unknown[]): unknown =>
        isDead() ? new Promise(() => undefined) : Reflect.apply(value, object, args);
    },
  });
}

/** Where containers run. */
export interface ContainerHost {
  /** What `/proc` and the cgroups are below. */
  readonly root: string;
  /** Starts a process in a cgroup of its own. @returns its number */
  launch(path: CgroupPath, cpus: string, mems: string): Promise<number>;
  /** Ends the process; its cgroup goes with it. */
  exit(path: CgroupPath): Promise<void>;
  /** The directory that has its cpuset. */
  directory(path: CgroupPath): string;
}

/** `pod<uid>/<id>` */
export interface CgroupPath {
  readonly pod: string;
  readonly container: string;
}

export interface NodeOptions {
  readonly host: ContainerHost;
  /** Default: one in memory. */
  readonly store?: Store;
  readonly topology: HostTopology;
  readonly reservedCpus?: CpuSet;
  readonly strategy?: 'spread' | 'pack';
  /** Told of every change that schedulers can see. */
  readonly onChange?: () => void;
}

export class CpusetNode {
  readonly runtime: FakeRuntime;
  readonly store = new MemoryStore();
  readonly specs = new Map<string, OciSpec>();
  readonly masks: string[] = [];
  readonly logs: string[] = [];
  /** Thrown whenever the mask is to be published. */
  maskFailure: Error | undefined;
  readonly #options: NodeOptions;
  readonly #pids = new Map<ContainerId, number>();
  readonly #pods = new Map<string, Pod>();
  /** What `containerCreating` answered last, by container. */
  readonly contributions = new Map<string, Contribution>();
  feature!: CpusetFeature;
  registry = new Registry();
  #die: () => void = () => {};
  #created = 100;

  constructor(options: NodeOptions) {
    this.#options = options;
    const fake = fakeRuntime();
    this.runtime = {
      ...fake,
      processId: async (id) => this.#pids.get(id),
      processIds: async () => new Map(this.#pids),
      // As runc does: the cgroup is written, and the runtime's own record with it.
      updateCpuset: async (id, cpus, mems, signal) => {
        await fake.updateCpuset(id, cpus, mems, signal);
        if (this.#pids.has(id)) this.write(id, 'cpuset.cpus', cpus.toString());
      },
      specs: {
        edit: async (id, edit) => {
          const spec = this.specs.get(id);
          const next = spec && edit(spec);
          if (next === undefined) return false;
          fake.log.push(`edit ${id} ${next.linux?.resources?.cpu?.cpus ?? '-'}`);
          this.specs.set(id, next);
          return true;
        },
      },
    };
  }

  /** Starts an agent over whatever the last one left. @param failpoint - the agent dies there */
  async startAgent(failpoint?: string): Promise<{ readonly died: Promise<void> }> {
    this.#die();
    let dead = false;
    let died = (): void => {};
    const death = new Promise<void>((resolve) => {
      died = resolve;
    });
    this.#die = () => {
      dead = true;
      died();
    };
    const isDead = (): boolean => dead;
    const cgroups = await openCgroups(this.#options.host.root);
    const runtime: ContainerRuntime = mortal(this.runtime, isDead);
    this.registry = new Registry();
    this.feature = createCpuset({
      store: mortal(this.#options.store ?? this.store, isDead),
      runtime: { ...runtime, specs: this.runtime.specs && mortal(this.runtime.specs, isDead) },
      topology: this.#options.topology,
      cgroups: mortal(cgroups, isDead),
      logger: pino({ level: 'info' }, { write: (line: string) => void this.logs.push(line) }),
      registry: this.registry,
      options: {
        reservedCpus: this.#options.reservedCpus ?? CpuSet.EMPTY,
        strategy: this.#options.strategy ?? 'pack',
        unboundMemory: 'proportional',
        reservedMemory: 0,
      },
      publishMask: async ({ cpus }) => {
        if (this.maskFailure !== undefined) throw this.maskFailure;
        if (!dead) this.masks.push(cpus.toString());
      },
      onChange: this.#options.onChange ?? (() => {}),
      failpoint: async (name) => {
        if (dead || name !== failpoint) {
          if (dead) await new Promise(() => undefined);
          return;
        }
        this.#die();
        await new Promise(() => undefined);
      },
    });
    return { died: death };
  }

  async start(failpoint?: string): Promise<void> {
    await this.startAgent(failpoint);
    await this.feature.recover(signal());
  }

  async runPod(shape: PodShape): Promise<void> {
    const pod = makePod(shape);
    this.#pods.set(shape.uid, pod);
    await this.feature.sandboxCreating({ pod, signal: signal() });
    this.runtime.sandboxes.set(`s-${shape.uid}`, fakeSandbox(`s-${shape.uid}`, shape.uid));
  }

  creating(uid: string, name: string, need: ResourceNeed, attempt = 0): ContainerCreating {
    const pod = this.#pods.get(uid);
    if (pod === undefined) throw new Error(`no pod ${uid}`);
    const spec = pod.facts?.containers.find((each) => each.name === name);
    return {
      pod,
      sandboxId: sandboxId(`s-${uid}`),
      name,
      attempt,
      policy: policyOf(pod.policy, name),
      need,
      ...(spec === undefined ? {} : { spec }),
      image: 'image',
      signal: signal(),
    };
  }

  /** containerCreating, and what the runtime makes of it. */
  async create(uid: string, name: string, need: ResourceNeed, attempt = 0): Promise<ContainerId> {
    const contribution = await this.feature.containerCreating(this.creating(uid, name, need, attempt));
    this.contributions.set(`${uid}/${name}`, contribution);
    return this.addContainer(uid, name, contribution, attempt);
  }

  /** A container that the runtime has. Without a contribution: one that was made behind the agent's back. */
  addContainer(uid: string, name: string, contribution: Contribution = {}, attempt = 0): ContainerId {
    const id = `c-${uid}-${name}-${attempt}`;
    this.#created += 1;
    const sandbox = fakeSandbox(`s-${uid}`, uid);
    const { annotations = {}, cpusetCpus, cpusetMems } = contribution;
    this.runtime.containers.set(
      id,
      fakeContainer(id, sandbox, name, { state: 'created', attempt, annotations, createdAt: this.#created }),
    );
    const cpu = {
      ...(cpusetCpus === undefined ? {} : { cpus: cpusetCpus.toString() }),
      ...(cpusetMems === undefined ? {} : { mems: cpusetMems.toString() }),
    };
    this.specs.set(id, { linux: { resources: { cpu } } });
    return containerId(id);
  }

  async created(uid: string, name: string, need: ResourceNeed, attempt = 0): Promise<void> {
    const id = containerId(`c-${uid}-${name}-${attempt}`);
    await this.feature.containerCreated({ ...this.creating(uid, name, need, attempt), containerId: id });
  }

  /** The runtime starts it: a cgroup with what the spec says. */
  async launch(id: ContainerId): Promise<void> {
    const listed = this.runtime.containers.get(id);
    if (listed === undefined) throw new Error(`no container ${id}`);
    const { host, topology } = this.#options;
    const cpu = this.specs.get(id)?.linux?.resources?.cpu;
    const cpus = cpu?.cpus ?? topology.usableCpus.toString();
    this.#pids.set(id, await host.launch(this.#path(id), cpus, cpu?.mems ?? topology.usableMems.toString()));
    this.runtime.containers.set(id, { ...listed, state: 'running' });
  }

  async started(id: ContainerId): Promise<void> {
    const container = this.runtime.containers.get(id);
    const pod = container && this.#pods.get(container.podUid);
    if (container === undefined || pod === undefined) throw new Error(`no container ${id}`);
    const policy = policyOf(pod.policy, container.name);
    await this.feature.containerStarted({ pod, container: { ...container, policy }, signal: signal() });
  }

  /** All the steps of a container's start. */
  async run(uid: string, name: string, need: ResourceNeed, attempt = 0): Promise<ContainerId> {
    const id = await this.create(uid, name, need, attempt);
    await this.created(uid, name, need, attempt);
    await this.launch(id);
    await this.started(id);
    return id;
  }

  /** Its last process is gone, and its cgroup with it. */
  async exit(id: ContainerId): Promise<void> {
    if (this.#pids.delete(id)) await this.#options.host.exit(this.#path(id));
    const listed = this.runtime.containers.get(id);
    if (listed !== undefined) this.runtime.containers.set(id, { ...listed, state: 'exited' });
  }

  async endPod(uid: string): Promise<void> {
    for (const [id, { podUid: owner }] of this.runtime.containers) {
      if (owner !== uid) continue;
      await this.exit(containerId(id));
      this.runtime.containers.delete(id);
    }
    await this.feature.podGone(podUid(uid), 'deleted', signal());
  }

  pod(uid: string): Pod {
    const pod = this.#pods.get(uid);
    if (pod === undefined) throw new Error(`no pod ${uid}`);
    return pod;
  }

  /** The process of a running container. */
  pid(id: ContainerId): number | undefined {
    return this.#pids.get(id);
  }

  read(id: ContainerId, file: string): string {
    return readFileSync(join(this.directory(id), file), 'utf8').trim();
  }

  write(id: ContainerId, file: string, text: string): void {
    writeFileSync(join(this.directory(id), file), text);
  }

  /** The CPUs that the kernel would let it use. */
  cpusOf(id: ContainerId): string {
    return this.read(id, 'cpuset.cpus');
  }

  /** The directory that has its cpuset. */
  directory(id: ContainerId): string {
    return this.#options.host.directory(this.#path(id));
  }

  #path(id: ContainerId): CgroupPath {
    return { pod: `pod${this.runtime.containers.get(id)?.podUid ?? ''}`, container: id };
  }
}

export function signal(): AbortSignal {
  return AbortSignal.timeout(20_000);
}
