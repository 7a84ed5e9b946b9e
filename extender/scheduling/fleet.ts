// What is known of every node: its agent's last word, what was bound there since, and since when nothing was heard.
import type { Room } from '../../agent/cpuset/room.ts';
import type { PodUid } from '../../agent/model/ids.ts';
import { KeptAnswers } from '../planning/kept-answers.ts';
import type { PodAsk } from '../planning/plan-ask.ts';
import { takePlace } from '../planning/plan-fit.ts';
import type { HostState } from '../planning/plan-host.ts';
import { NodeNews } from './news.ts';

/** `unknown`: no agent was ever heard of there. `lost`: too long ago. */
export type NodeView =
  /** What its agent says is left, less what was bound there since. */
  { readonly kind: 'known'; readonly node: KeptAnswers } | { readonly kind: 'unknown' | 'lost'; readonly why: string };

interface NodeRecord {
  state: HostState | undefined;
  known: NodeView | undefined;
  /** When the connection was lost; undefined while it stands. */
  lostAt: number | undefined;
  problem: string;
}

const NO_AGENT: NodeView = { kind: 'unknown', why: 'no Holdfast agent is known on this node' };

export class Fleet {
  /** Told of everything that can change an answer. */
  readonly news = new NodeNews();
  readonly #nodes = new Map<string, NodeRecord>();
  /** By node, then UID, in the order of the news. */
  readonly #bound = new Map<string, Map<PodUid, PodAsk>>();
  readonly #nodeOf = new Map<PodUid, string>();
  readonly #maxAgeMs: number;
  readonly #now: () => number;

  /** @param maxAgeMs - how long a node's last word counts after its agent was lost */
  constructor(maxAgeMs: number, now: () => number = () => performance.now()) {
    this.#maxAgeMs = maxAgeMs;
    this.#now = now;
  }

  /** Nodes by what is known of them; for metrics. */
  count(): Readonly<Record<NodeView['kind'], number>> {
    const counts = { known: 0, unknown: 0, lost: 0 };
    for (const node of this.#nodes.keys()) counts[this.view(node).kind] += 1;
    return counts;
  }

  get size(): number {
    return this.#nodes.size;
  }

  /** Its agent has told of a new state. */
  publish(node: string, state: HostState): void {
    this.#nodes.set(node, { state, known: undefined, lostAt: undefined, problem: '' });
    this.news.tell([node]);
  }

  /** The connection to its agent is gone. */
  lose(node: string, problem: string): void {
    const record = this.#nodes.get(node);
    if (record === undefined) {
      this.#nodes.set(node, { state: undefined, known: undefined, lostAt: this.#now(), problem });
      return;
    }
    record.lostAt ??= this.#now();
    record.problem = problem;
  }

  /** The node is gone. */
  forget(node: string): void {
    this.#nodes.delete(node);
    this.news.tell([node]);
  }

  /** The pod is bound to the node. @returns whether that is news */
  bind(ask: PodAsk, node: string): boolean {
    const { uid } = ask.identity;
    if (this.#nodeOf.get(uid) === node) return false;
    this.unbind(uid);
    const here = this.#bound.get(node) ?? new Map<PodUid, PodAsk>();
    this.#bound.set(node, here.set(uid, ask));
    this.#nodeOf.set(uid, node);
    this.#refresh(node, uid);
    return true;
  }

  /** The pod has finished or is gone. */
  unbind(uid: PodUid): void {
    const node = this.#nodeOf.get(uid);
    if (node === undefined) return;
    this.#nodeOf.delete(uid);
    const here = this.#bound.get(node);
    here?.delete(uid);
    if (here?.size === 0) this.#bound.delete(node);
    this.#refresh(node, uid);
  }

  /** Where the pod is bound; undefined when it is not, as far as is known. */
  nodeOf(uid: PodUid): string | undefined {
    return this.#nodeOf.get(uid);
  }

  view(node: string): NodeView {
    const record = this.#nodes.get(node);
    if (record === undefined) return NO_AGENT;
    const { state, lostAt, problem } = record;
    if (state === undefined) return { kind: 'unknown', why: `its Holdfast agent has not been reached: ${problem}` };
    const silentMs = lostAt === undefined ? 0 : this.#now() - lostAt;
    if (silentMs > this.#maxAgeMs) {
      const seconds = Math.round(silentMs / 1000);
      return { kind: 'lost', why: `its Holdfast agent was lost ${seconds} s ago: ${problem}` };
    }
    record.known ??= { kind: 'known', node: new KeptAnswers(this.#roomOf(node, state)) };
    return record.known;
  }

  /** What the agent's state accounts for already makes no difference. */
  #refresh(node: string, uid: PodUid): void {
    const record = this.#nodes.get(node);
    if (record !== undefined && record.state?.pods.has(uid) !== true) record.known = undefined;
    this.news.tell([node]);
  }

  /** One that does not fit will be refused by the node, and takes nothing. */
  #roomOf(node: string, { room, pods }: HostState): Room {
    const unseen = [...(this.#bound.get(node)?.values() ?? [])].filter(({ identity }) => !pods.has(identity.uid));
    if (unseen.length === 0) return room;
    const left = room.copy();
    for (const ask of unseen) takePlace(left, ask);
    return left;
  }
}
