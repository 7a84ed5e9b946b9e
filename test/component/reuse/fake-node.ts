// A runtime whose snapshots are real directories below a scratch root: what the feature renames is really renamed. It
// behaves as containerd does: removing a container removes the snapshot that it names, and what neither a container nor
// a lease names is collected.
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { openHostTree } from '../../../agent/host/host-tree.ts';
import type { ContainerCreating, ContainerStep } from '../../../agent/lifecycle/feature.ts';
import { type ContainerId, containerId, podUid, sandboxId } from '../../../agent/model/ids.ts';
import type { ContainerState } from '../../../agent/model/pod.ts';
import { DEFAULT_POLICY } from '../../../agent/model/policy.ts';
import { POLICY_ANNOTATION, stampContainerPolicy } from '../../../agent/model/policy-stamp.ts';
import { bytes } from '../../../agent/model/quantity.ts';
import { createReuse, type Reuse, type ReuseParts } from '../../../agent/reuse/feature.ts';
import type { LayerStore, Lease, SnapshotRef } from '../../../agent/runtime/runtime.ts';
import { MemoryStore } from '../../../agent/state/memory-store.ts';
import { HoldfastError } from '../../../lib/errors.ts';
import type { Failpoint } from '../../../lib/failpoint.ts';
import { type FakeRuntime, fakeContainer, fakeRuntime, fakeSandbox } from '../../support/fake-runtime.ts';

const NEVER = new AbortController().signal;
const SANDBOX = fakeSandbox('sandbox', 'uid');
const REUSE = { ...DEFAULT_POLICY, restart: 'reuse' } as const;

/** The feature of a process that may be dead: then nothing that was asked of it is ever answered. */
function mortal(feature: Reuse, life: { readonly alive: boolean }): Reuse {
  return new Proxy(feature, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== 'function') return value;
      return (...args: unknown[]): unknown => {
        if (!life.alive) return new Promise(() => {});
        const result: unknown = Reflect.apply(value, target, args);
        if (!(result instanceof Promise)) return result;
        return result.then((answer: unknown) => (life.alive ? answer : new Promise(() => {})));
      };
    },
  });
}

export class FakeNode {
  readonly root: string;
  readonly runtime: FakeRuntime & { layers: LayerStore | undefined };
  readonly #parents = new Map<string, string>();
  readonly #named = new Map<string, string>();
  readonly #leases = new Map<string, Lease & { readonly keys: Set<string> }>();
  readonly #options: Partial<ReuseParts['options']>;
  #serial = 0;
  #now = 1;
  #life = { alive: false };
  store = new MemoryStore();
  /** What the next agent is told of the store: it was rebuilt from an older copy. */
  recovered = false;
  feature: Reuse;

  private constructor(root: string, options: Partial<ReuseParts['options']>) {
    this.root = root;
    this.#options = options;
    this.runtime = Object.assign(fakeRuntime(), { layers: this.#layerStore() });
    this.runtime.removeContainer = (id) => this.#removeContainer(id);
    this.runtime.sandboxes.set(SANDBOX.id, SANDBOX);
    // Set by `restartAgent` before the node is handed out.
    this.feature = undefined as unknown as Reuse;
  }

  static async open(options: Partial<ReuseParts['options']> = {}): Promise<FakeNode> {
    const root = await mkdtemp(join(tmpdir(), 'holdfast-reuse-'));
    await mkdir(join(root, 'proc'));
    await mkdir(join(root, 'snapshots'));
    const node = new FakeNode(root, options);
    await node.restartAgent();
    return node;
  }

  close(): Promise<void> {
    return rm(this.root, { recursive: true, force: true });
  }

  /** The agent starts again; whatever the one before it had under way never ends. */
  async restartAgent(failpoint?: Failpoint): Promise<void> {
    this.#life.alive = false;
    const life = { alive: true };
    this.#life = life;
    const feature = createReuse({
      runtime: this.runtime,
      store: this.store,
      podSource: { find: () => undefined },
      tree: await openHostTree(this.root),
      logger: pino({ level: 'silent' }),
      registry: new Registry(),
      now: () => this.#tick(),
      options: {
        budgetBytes: 1e9,
        maxAgeMs: 1e9,
        fastFailures: { limit: 0, withinMs: 0 },
        measureIntervalMs: 1e9,
        ...this.#options,
      },
      recovered: this.recovered,
      failpoint: (name) => (life.alive ? failpoint?.(name) : new Promise(() => {})),
    });
    this.feature = mortal(feature, life);
    await this.feature.recover?.(NEVER);
  }

  /** The agent dies: its calls never return. */
  kill(): void {
    this.#life.alive = false;
  }

  /** The node is off for so many milliseconds. */
  pass(milliseconds: number): void {
    this.#now += milliseconds;
  }

  /** One clock for all, on which no two things happen at the same time. */
  #tick(): number {
    this.#now += 1;
    return this.#now;
  }

  directory(key: string): string {
    return join(this.root, this.upperdir(key));
  }

  upperdir(key: string): string {
    return `/snapshots/${key}/fs`;
  }

  async write(id: ContainerId, name: string): Promise<void> {
    await writeFile(join(this.directory(this.#named.get(id) ?? ''), name), name);
  }

  async read(id: ContainerId): Promise<readonly string[]> {
    return (await readdir(this.directory(this.#named.get(id) ?? ''))).sort();
  }

  /** Every directory of a snapshot that has something in it, by its key. */
  async fullSnapshots(): Promise<readonly string[]> {
    const full: string[] = [];
    for (const key of this.#parents.keys()) {
      if ((await readdir(this.directory(key))).length > 0) full.push(key);
    }
    return full;
  }

  leases(): readonly Lease[] {
    return [...this.#leases.values()];
  }

  creating(attempt: number, image: string): ContainerCreating {
    return {
      pod: {
        uid: podUid('uid'),
        namespace: 'default',
        name: 'pod-uid',
        labels: new Map(),
        annotations: new Map(),
        policy: { ...REUSE, containers: new Map() },
        cgroupParent: '',
        sandboxResources: { hugepages: new Map() },
      },
      sandboxId: sandboxId('sandbox'),
      name: 'app',
      attempt,
      policy: REUSE,
      need: { hugepages: new Map() },
      image,
      signal: NEVER,
    };
  }

  step(id: ContainerId, state: ContainerState): ContainerStep {
    const { pod, sandboxId: sandbox, policy } = this.creating(0, '');
    return {
      pod,
      container: { id, sandboxId: sandbox, podUid: pod.uid, name: 'app', attempt: 0, policy, state },
      signal: NEVER,
    };
  }

  /** CreateContainer at the runtime. @param parent - the chain of image layers; the image's name without more */
  async createAtRuntime(attempt: number, image: string, parent = image): Promise<ContainerId> {
    this.#serial += 1;
    const id = containerId(`container-${this.#serial}`);
    await mkdir(this.directory(id), { recursive: true });
    this.#parents.set(id, parent);
    this.#named.set(id, id);
    this.runtime.containers.set(
      id,
      fakeContainer(id, SANDBOX, 'app', {
        attempt,
        image,
        state: 'created',
        createdAt: this.#tick(),
        annotations: { [POLICY_ANNOTATION]: stampContainerPolicy(REUSE) },
      }),
    );
    return id;
  }

  setState(id: ContainerId, state: ContainerState, exitCode = 0): void {
    const container = this.runtime.containers.get(id);
    if (container === undefined) throw new Error(`there is no container ${id}`);
    const startedAt = state === 'running' ? this.#tick() : container.startedAt;
    this.runtime.containers.set(id, { ...container, state, startedAt, exitCode });
  }

  async #removeContainer(id: ContainerId): Promise<void> {
    const key = this.#named.get(id);
    this.runtime.containers.delete(id);
    this.#named.delete(id);
    if (key !== undefined) await this.#removeSnapshot(key);
    await this.collectGarbage();
  }

  /** What containerd does now and then. */
  async collectGarbage(): Promise<void> {
    const held = new Set([...this.#named.values(), ...[...this.#leases.values()].flatMap(({ keys }) => [...keys])]);
    for (const key of this.#parents.keys()) if (!held.has(key)) await this.#removeSnapshot(key);
  }

  async #removeSnapshot(key: string): Promise<void> {
    this.#parents.delete(key);
    await rm(join(this.root, 'snapshots', key), { recursive: true, force: true });
  }

  #layerStore(): LayerStore {
    const ref = (key: string): SnapshotRef => ({ snapshotter: 'overlayfs', key });
    return {
      snapshotOf: async (id) => {
        const key = this.#named.get(id);
        return key === undefined ? undefined : ref(key);
      },
      parentOf: async ({ key }) => this.#parents.get(key),
      upperdirOf: async ({ key }) => (this.#parents.has(key) ? this.upperdir(key) : undefined),
      usageOf: async ({ key }) => {
        if (!this.#parents.has(key)) throw new HoldfastError('NOT_FOUND', key);
        return { size: bytes((await readdir(this.directory(key))).length), inodes: 1 };
      },
      removeSnapshot: ({ key }) => this.#removeSnapshot(key),
      detachSnapshot: async (id) => {
        this.#named.delete(id);
        await this.collectGarbage();
      },
      createLease: async (id, { key }, labels) => {
        const lease = this.#leases.get(id) ?? { id, labels, createdAt: this.#tick(), keys: new Set<string>() };
        lease.keys.add(key);
        this.#leases.set(id, lease);
      },
      deleteLease: async (id) => {
        this.#leases.delete(id);
        await this.collectGarbage();
      },
      listLeases: async (label) => [...this.#leases.values()].filter(({ labels }) => label in labels),
    };
  }
}
