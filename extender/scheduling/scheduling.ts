// Answers the scheduler's two questions, and keeps account of the pods that were answered until the API tells of them.
import type { PolicyRules } from '../../agent/lifecycle/plan-policy.ts';
import type { PodUid } from '../../agent/model/ids.ts';
import type { PodFacts } from '../../agent/model/pod.ts';
import { HoldfastError } from '../../lib/errors.ts';
import type { ClusterPod } from '../discovery/cluster-pod.ts';
import { type Impossible, isImpossible, type PodAsk, planAsk } from '../planning/plan-ask.ts';
import type { Fleet } from './fleet.ts';
import type { InFlight } from './in-flight.ts';
import { type FilterInputs, type FilterPlan, planFilter, planPreference } from './plan-filter.ts';

export interface SchedulingOptions {
  readonly fleet: Fleet;
  readonly inFlight: InFlight;
  /** Policies as the nodes' configuration has them. */
  readonly policy: PolicyRules;
  readonly withoutAgent: FilterInputs['withoutAgent'];
  /** Nodes that a pod is answered with. */
  readonly most: number;
  /** What is not known yet (`Readiness`); undefined: nothing. */
  readonly missing: () => string | undefined;
  /** How long an answer may wait for pods in flight, milliseconds. */
  readonly waitMs: number;
  /** Told when an answer begins to wait. */
  readonly onWait: () => void;
}

export interface FilterAnswer {
  readonly passed: readonly string[];
  /** Reasons by node. */
  readonly failed: ReadonlyMap<string, string>;
}

/** Needs whose parts are shared by the pods that have them: the pods of a Deployment are alike. */
const MOST_SHARED = 10_000;

/** Between two looks of an answer that waits: what changes in the meantime is looked at once. */
const LOOK_MS = 25;
const NO_NODES: ReadonlySet<string> = new Set();

type SharedParts = Pick<PodAsk, 'need' | 'together' | 'most'>;

export class Scheduling {
  readonly #options: SchedulingOptions;
  readonly #shared = new Map<string, SharedParts>();
  /** Static pods: the UID in the API, and the one that the node knows. */
  readonly #mirrors = new Map<string, PodUid>();

  constructor(options: SchedulingOptions) {
    this.#options = options;
  }

  /**
   * Which of the nodes the pod may go to. When only pods in flight stand against it, the answer waits for them.
   * @param condition - what the scheduler said of the pod's last attempt (`unschedulableOf`)
   * @param signal - the caller has gone; the answer is given up
   * @throws HoldfastError UNAVAILABLE while nothing is known of the nodes; the signal's reason
   */
  async filter(
    facts: PodFacts,
    condition: string,
    nodes: readonly string[],
    signal: AbortSignal,
  ): Promise<FilterAnswer> {
    const { inFlight } = this.#options;
    this.#land(facts.uid);
    const ask = this.#askOf(facts);
    if (isImpossible(ask)) return { passed: [], failed: new Map(nodes.map((node) => [node, ask.refused])) };
    if (ask.numa !== 'required') {
      if (!ask.isFirm) return { passed: nodes, failed: new Map() };
      const passed = planPreference(nodes, ask, this.#inputs());
      inFlight.begin(ask, passed, condition);
      return { passed, failed: new Map() };
    }
    const missing = this.#options.missing();
    if (missing !== undefined) throw new HoldfastError('UNAVAILABLE', `just started: ${missing}`);
    const plan = await this.#planPatiently(ask, condition, nodes, signal);
    const failed = new Map(plan.failed);
    for (const node of plan.contended) failed.set(node, this.#contention(node));
    return { passed: plan.fits, failed };
  }

  /** From 0 to 10 for each node; 0 for all where the pod does not ask for a NUMA node. */
  prioritize(facts: PodFacts, nodes: readonly string[]): readonly number[] {
    const { fleet } = this.#options;
    const ask = this.#askOf(facts);
    if (isImpossible(ask) || ask.numa === 'none') return nodes.map(() => 0);
    return nodes.map((name) => {
      const view = fleet.view(name);
      return view.kind === 'known' ? view.node.score(ask) : 0;
    });
  }

  /** The API tells of a pod. */
  onPod({ key, pod, nodeName, unschedulable }: ClusterPod): void {
    const { fleet, inFlight } = this.#options;
    const uid = pod.mirrors ?? pod.uid;
    if (pod.mirrors !== undefined) this.#mirrors.set(key, pod.mirrors);
    if (nodeName === '') {
      if (unschedulable !== '') fleet.news.tell(inFlight.unschedulable(uid, unschedulable) ?? []);
      return;
    }
    if (pod.finished) {
      this.onPodGone(key);
      return;
    }
    const ask = pod.facts === undefined ? undefined : this.#askOf({ ...pod.facts, uid });
    // Counted where it is bound before it stops to count everywhere else: nothing comes between.
    if (ask !== undefined && !isImpossible(ask)) fleet.bind(ask, nodeName);
    this.#land(uid);
  }

  /** The pod is gone, or has ended. */
  onPodGone(key: string): void {
    const uid = this.#mirrors.get(key) ?? (key as PodUid);
    this.#mirrors.delete(key);
    this.#options.fleet.unbind(uid);
    this.#land(uid);
  }

  #land(uid: PodUid): void {
    const { fleet, inFlight } = this.#options;
    fleet.news.tell(inFlight.end(uid) ?? []);
  }

  #inputs(): FilterInputs {
    const { fleet, inFlight, withoutAgent, most } = this.#options;
    return { view: (node) => fleet.view(node), inFlight: (node) => inFlight.on(node), withoutAgent, most };
  }

  async #planPatiently(
    ask: PodAsk,
    condition: string,
    nodes: readonly string[],
    signal: AbortSignal,
  ): Promise<FilterPlan> {
    const { fleet, inFlight, waitMs, onWait } = this.#options;
    const deadline = performance.now() + waitMs;
    let looked = nodes;
    for (let attempt = 0; ; attempt += 1) {
      const nextEnd = inFlight.expire();
      const plan = planFilter(looked, ask, this.#inputs());
      const plannedAt = performance.now();
      const left = deadline - plannedAt;
      if (plan.fits.length > 0 || plan.contended.length === 0 || left <= 0) {
        // What was failed at first was not looked at again.
        const last = looked === nodes ? plan : planFilter(nodes, ask, this.#inputs());
        // At once: another one that waits is woken by the same news, and must find this pod in flight.
        if (last.fits.length > 0) inFlight.begin(ask, last.fits, condition);
        return last;
      }
      if (attempt === 0) onWait();
      // Only they can become free by the end of a flight; and a room elsewhere shows in the whole look at the end.
      looked = plan.contended;
      await fleet.news.of(new Set(looked), Math.min(left, nextEnd ?? left), signal);
      const early = plannedAt + LOOK_MS - performance.now();
      if (early > 0) await fleet.news.of(NO_NODES, early, signal);
    }
  }

  #contention(node: string): string {
    const names = this.#options.inFlight.on(node).map(({ identity }) => `${identity.namespace}/${identity.name}`);
    const more = names.length > 1 ? ` and ${names.length - 1} more` : '';
    return `there is room only while ${names[0] ?? 'another pod'}${more}, which may be going there, does not`;
  }

  #askOf(facts: PodFacts): PodAsk | Impossible {
    const ask = planAsk(facts, this.#options.policy);
    if (isImpossible(ask) || ask.key === '') return ask;
    const { need, together, most } = ask;
    const shared = this.#shared.get(ask.key);
    if (shared !== undefined) return { ...ask, ...shared };
    if (this.#shared.size >= MOST_SHARED) this.#shared.clear();
    this.#shared.set(ask.key, { need, together, most });
    return ask;
  }
}
