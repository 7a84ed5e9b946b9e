// Keeps the NodeResourceTopology object of this node as it is planned: after changes of the object, and every minute in
// case somebody else changed it. In the background: nothing waits for it.
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { Counter, Gauge, type Registry } from 'prom-client';
import { describeError } from '../../lib/errors.ts';
import type { ApiCredentials } from './api-access.ts';
import { ApiError } from './api-error.ts';
import { KeptAccess } from './kept-access.ts';
import { applyObject, OBJECT_LIMITS, type ObjectRequest, readNodeUid } from './node-resource-topology-api.ts';
import {
  APPLY_TIMES,
  type ApplyEnd,
  type ApplyState,
  type ApplyTimes,
  type ApplyView,
  describeApply,
  FIRST_APPLY,
  isLookDue,
  planApply,
} from './plan-apply.ts';

/** What changes, by its version. */
export interface Versions {
  readonly version: bigint;
  /** Resolves when the version is another than `seen`. */
  after(seen: bigint, signal: AbortSignal): Promise<void>;
}

export interface PublishOptions {
  readonly credentials: ApiCredentials;
  readonly nodeName: string;
  /** The object as it is to be now. */
  readonly plan: (nodeUid: string) => object;
  readonly versions: Versions;
  readonly metrics: Registry;
  readonly logger: Logger;
  readonly times?: ApplyTimes;
}

export interface PublishedObject {
  status(): ApplyView;
  /** Resolves when nothing is under way any more. The object stays. */
  close(): Promise<void>;
}

/** Begins at once. */
export function publishNodeResourceTopology(options: PublishOptions): PublishedObject {
  const publisher = new Publisher(options);
  const closing = new AbortController();
  const running = publisher.run(closing.signal);
  return {
    status: () => publisher.status(),
    close: async () => {
      closing.abort();
      await running;
    },
  };
}

/** What the API server has accepted, with the Node that owns it. */
interface Applied {
  readonly nodeUid: string;
  readonly content: string;
}

class Publisher {
  readonly #options: PublishOptions;
  readonly #access: KeptAccess;
  readonly #ends: Counter<'end'>;
  #state: ApplyState = FIRST_APPLY;
  #applied: Applied | undefined;
  #appliedAt: number | undefined;

  constructor(options: PublishOptions) {
    this.#options = options;
    this.#access = new KeptAccess(options.credentials);
    const registers = [options.metrics];
    this.#ends = new Counter({
      name: 'holdfast_node_resource_topology_applies_total',
      help: 'Attempts to apply the NodeResourceTopology object, by how they ended.',
      labelNames: ['end'],
      registers,
    });
    const age: Gauge = new Gauge({
      name: 'holdfast_node_resource_topology_age_seconds',
      help: 'Since the object was last applied; NaN before the first time.',
      registers,
      collect: () => age.set(this.#appliedAt === undefined ? Number.NaN : (performance.now() - this.#appliedAt) / 1000),
    });
  }

  status(): ApplyView {
    const { nodeName } = this.#options;
    if (this.#appliedAt === undefined && this.#state === FIRST_APPLY) {
      return { level: 'ok', text: `object ${nodeName} is not applied yet` };
    }
    return describeApply(this.#state, nodeName);
  }

  async run(signal: AbortSignal): Promise<void> {
    try {
      await this.#keepApplied(signal);
    } finally {
      this.#access.drop();
    }
  }

  async #keepApplied(signal: AbortSignal): Promise<void> {
    const { versions, times = APPLY_TIMES } = this.#options;
    while (!signal.aborted) {
      const { version } = versions;
      const end = await this.#attempt(signal);
      if (signal.aborted) return;
      if (end.kind !== 'unchanged') this.#ends.inc({ end: end.kind });
      const facts = { now: performance.now(), random: Math.random() };
      const next = planApply(this.#state, end, facts, times);
      this.#tell(next.state);
      this.#state = next.state;
      await until(signal, next.pauseMs);
      if (next.waitMs > 0) await until(signal, next.waitMs, (ended) => versions.after(version, ended));
    }
  }

  async #attempt(signal: AbortSignal): Promise<ApplyEnd> {
    const isLook = isLookDue(this.#state, performance.now());
    if (isLook) this.#forget();
    try {
      return await this.#apply(isLook, signal);
    } catch (error) {
      this.#forget();
      return this.#endOf(error);
    }
  }

  /** Nothing that was read or applied before is trusted any longer. */
  #forget(): void {
    this.#access.drop();
    this.#applied = undefined;
  }

  async #apply(isLook: boolean, signal: AbortSignal): Promise<ApplyEnd> {
    const { nodeName, plan } = this.#options;
    const before = this.#applied;
    if (before !== undefined && JSON.stringify(plan(before.nodeUid)) === before.content) return { kind: 'unchanged' };
    const access = await this.#access.open(signal);
    const request: ObjectRequest = { access, nodeName, limits: OBJECT_LIMITS, signal };
    const nodeUid = before?.nodeUid ?? (await readNodeUid(request));
    const object = plan(nodeUid);
    await applyObject(request, object, this.#state.force);
    this.#applied = { nodeUid, content: JSON.stringify(object) };
    this.#appliedAt = performance.now();
    return { kind: 'applied', isLook };
  }

  #endOf(error: unknown): ApplyEnd {
    if (!(error instanceof ApiError)) return { kind: 'failed', problem: describeError(error) };
    if (error.kind === 'credentials') this.#options.credentials.forget();
    if (error.httpCode === 409 && error.conflictingManagers.length > 0) {
      return { kind: 'conflict', managers: error.conflictingManagers };
    }
    const { retryAfterMs } = error;
    return { kind: 'failed', problem: describeError(error), ...(retryAfterMs === undefined ? {} : { retryAfterMs }) };
  }

  /** A problem is said once, when it begins or becomes another, and once when it is over. */
  #tell(next: ApplyState): void {
    const { logger, nodeName } = this.#options;
    const [before, now] = [describeApply(this.#state, nodeName), describeApply(next, nodeName)];
    if (before.level === now.level && before.text === now.text) return;
    const fields = { subject: 'node resource topology' };
    if (now.level === 'ok') logger.info(fields, now.text);
    else if (now.level === 'warning') logger.warn(fields, now.text);
    else logger.error(fields, now.text);
  }
}

/** Resolves after so long, at the signal, or when what is waited for is there. */
async function until(
  signal: AbortSignal,
  milliseconds: number,
  other?: (ended: AbortSignal) => Promise<void>,
): Promise<void> {
  const over = new AbortController();
  const end = (): void => over.abort();
  signal.addEventListener('abort', end, { once: true });
  if (signal.aborted) end();
  const waits = [delay(milliseconds, undefined, { signal: over.signal, ref: false }), other?.(over.signal)];
  try {
    await Promise.race(waits.filter((each) => each !== undefined).map((each) => quietly(each, over.signal)));
  } finally {
    signal.removeEventListener('abort', end);
    end();
  }
}

/** An ended wait is no error. */
async function quietly(wait: Promise<void>, over: AbortSignal): Promise<void> {
  try {
    await wait;
  } catch (error) {
    if (!over.aborted) throw error;
  }
}
