// Whatever a kubelet does, wherever the agent dies, and even when its store is lost: the data of a container is never in
// two places, and never nowhere.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import type { ContainerId } from '../../../agent/model/ids.ts';
import type { Reuse } from '../../../agent/reuse/feature.ts';
import { MemoryStore } from '../../../agent/state/memory-store.ts';
import { describeError } from '../../../lib/errors.ts';
import { FakeNode } from './fake-node.ts';

const NEVER = new AbortController().signal;

type Action =
  /** The kubelet makes the next attempt. `started`: it gets as far as StartContainer. */
  | { readonly do: 'restart'; readonly image: 'one' | 'two'; readonly started: boolean; readonly dieAt: number }
  /** The kubelet gives a creation up after the agent has answered. */
  | { readonly do: 'abandon'; readonly image: 'one' | 'two'; readonly dieAt: number }
  /** The kubelet removes a dead container: the newest or the oldest. */
  | { readonly do: 'remove'; readonly which: 'newest' | 'oldest'; readonly dieAt: number }
  | { readonly do: 'reconcile'; readonly dieAt: number }
  | { readonly do: 'lose-store' };

const image = fc.constantFrom<'one' | 'two'>('one', 'one', 'one', 'two');
/** How many failpoints are passed before the agent dies; most of the time it does not. */
const dieAt = fc.oneof(fc.constant(99), fc.integer({ min: 0, max: 9 }));
const actions: fc.Arbitrary<Action> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ do: fc.constant('restart' as const), image, started: fc.boolean(), dieAt }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('abandon' as const), image, dieAt }) },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('remove' as const), which: fc.constantFrom('newest', 'oldest'), dieAt }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('reconcile' as const), dieAt }) },
  { weight: 1, arbitrary: fc.constant({ do: 'lose-store' } as const) },
);

class Kubelet {
  readonly node: FakeNode;
  #attempt = 0;
  #running: ContainerId | undefined;
  /** What the next container with this image must find. */
  #expected: { readonly image: string; readonly files: string[] } = { image: 'one', files: [] };

  constructor(node: FakeNode) {
    this.node = node;
  }

  async act(action: Action): Promise<void> {
    if (action.do === 'lose-store') {
      this.node.store = new MemoryStore();
      await this.node.restartAgent();
      return;
    }
    await this.#orDie(action.dieAt, () => this.#carryOut(action, this.node.feature));
  }

  /** Carries on as the kubelet does after the agent has died and come back: the same call again. */
  async #orDie(point: number, work: () => Promise<void>): Promise<void> {
    let passed = 0;
    let die = (): void => {};
    const dead = new Promise<'dead'>((resolve) => {
      die = () => {
        this.node.kill();
        resolve('dead');
      };
    });
    // Dying begins with the recovery.
    const alive = this.node.restartAgent(() => {
      passed += 1;
      if (passed <= point) return undefined;
      die();
      return new Promise<void>(() => {});
    });
    const outcome = await Promise.race([alive.then(work).then(() => 'done'), dead]);
    await this.node.restartAgent();
    if (outcome === 'dead') await work();
  }

  async #carryOut(action: Exclude<Action, { do: 'lose-store' }>, feature: Reuse): Promise<void> {
    switch (action.do) {
      case 'restart':
        await this.#restart(action.image, action.started, feature);
        return;
      case 'abandon': {
        this.#stop();
        const id = await this.#create(action.image, feature);
        await feature.containerAbandoned?.(this.node.step(id, 'created'));
        await this.node.runtime.removeContainer(id, NEVER);
        return;
      }
      case 'remove': {
        const dead = [...this.node.runtime.containers.values()]
          .filter(({ state }) => state !== 'running')
          .sort((a, b) => a.createdAt - b.createdAt);
        const chosen = dead.at(action.which === 'newest' ? -1 : 0);
        if (chosen !== undefined) await this.#remove(chosen.id, feature);
        return;
      }
      case 'reconcile':
        await feature.reconcile?.(NEVER);
        await feature.measure(NEVER);
    }
  }

  async #restart(wanted: string, started: boolean, feature: Reuse): Promise<void> {
    this.#stop();
    const id = await this.#create(wanted, feature);
    this.#attempt += 1;
    if (!started) return;
    this.node.setState(id, 'running');
    this.#running = id;
    if (wanted !== this.#expected.image) this.#expected = { image: wanted, files: [] };
    assert.deepEqual(await this.node.read(id), this.#expected.files.toSorted(), 'the container finds its data');
    const file = `file-${this.#expected.files.length}`;
    await this.node.write(id, file);
    this.#expected.files.push(file);
    await feature.containerStarted?.(this.node.step(id, 'running'));
  }

  #stop(): void {
    if (this.#running !== undefined) this.node.setState(this.#running, 'exited');
    this.#running = undefined;
  }

  /** With what the pipeline does before: the container of a lost creation is removed. */
  async #create(wanted: string, feature: Reuse): Promise<ContainerId> {
    for (const { id, state, attempt } of this.node.runtime.containers.values()) {
      if (state === 'created' && attempt === this.#attempt) await this.#remove(id, feature);
    }
    await feature.containerCreating?.(this.node.creating(this.#attempt, wanted));
    const id = await this.node.createAtRuntime(this.#attempt, wanted);
    await feature.containerCreated?.({ ...this.node.creating(this.#attempt, wanted), containerId: id });
    return id;
  }

  async #remove(id: ContainerId, feature: Reuse): Promise<void> {
    const state = this.node.runtime.containers.get(id)?.state ?? 'exited';
    await feature.containerRemoving?.(this.node.step(id, state));
    await this.node.runtime.removeContainer(id, NEVER);
  }

  /** After everything: one more restart with the image of the data finds it, and nothing is left over. */
  async finish(): Promise<void> {
    await this.#restart(this.#expected.image, true, this.node.feature);
    await this.node.feature.reconcile?.(NEVER);
    await this.node.feature.measure(NEVER);
    await this.node.fullSnapshots();
    const layers = this.node.feature.admin.list().layers.filter(({ state }) => state !== 'superseded');
    assert.equal(layers.length, 1, 'one layer');
    assert.equal(layers[0]?.holderContainerId, this.#running, 'held by the running container');
    for (const { labels } of this.node.leases()) {
      const known = this.node.feature.admin.list().layers.some(({ state }) => state === 'superseded');
      assert.ok(known, `the lease of ${labels['holdfast.dev/snapshot']} belongs to nothing`);
    }
  }
}

t.test('random kubelets, random deaths', async (t) => {
  const property = fc.asyncProperty(fc.array(actions, { minLength: 1, maxLength: 14 }), async (sequence) => {
    const node = await FakeNode.open();
    try {
      const kubelet = new Kubelet(node);
      for (const action of sequence) await kubelet.act(action);
      await kubelet.finish();
    } finally {
      await node.close();
    }
  });
  const outcome = await fc.check(property, { numRuns: 200 });
  if (outcome.failed) t.fail(`${fc.defaultReportMessage(outcome)} ${describeError(outcome.errorInstance)}`);
  else t.pass(`${outcome.numRuns} sequences`);
});
