// Makes a changed shared pool true on the host: the published mask, the cgroups, the specs; then the runtime is told.
import type { Logger } from 'pino';
import { describeError, HoldfastError } from '../../lib/errors.ts';
import { KeyedMutex } from '../../lib/keyed-mutex.ts';
import type { CpuSet } from '../model/cpu-set.ts';
import type { SharedMask } from '../model/shared-mask.ts';
import type { Applier, Failure } from './apply.ts';
import { describeMember, type Member } from './members.ts';
import type { CpusetMetrics } from './metrics.ts';

export interface SharedPoolOptions {
  readonly pool: () => CpuSet;
  /** The pool is made of CPUs that have owners, for want of others. */
  readonly isExhausted: () => boolean;
  readonly applier: Applier;
  readonly publishMask: (mask: SharedMask) => Promise<void>;
  readonly metrics: CpusetMetrics;
  readonly logger: Logger;
  /** Passes a failpoint. */
  readonly reach: (point: string) => Promise<void>;
}

/** Containers named in one error or log line. */
const MOST_NAMED = 5;

/** Where it was last; what the runtime was told is too little to go by when the runtime has lost sight of it. */
function lastKnown({ written, told, state }: Member): CpuSet | undefined {
  return written ?? (state === 'unknown' ? undefined : told);
}

export class SharedPool {
  readonly #options: SharedPoolOptions;
  readonly #mutex = new KeyedMutex();
  readonly #background = new Set<Promise<void>>();
  #published: CpuSet | undefined;
  #exhausted = false;

  constructor(options: SharedPoolOptions) {
    this.#options = options;
  }

  /**
   * Publishes the mask, then moves whoever is not where they belong.
   * @returns those that could not be moved
   * @throws what `publishMask` throws
   */
  async spread(): Promise<readonly Failure[]> {
    const { applier, reach } = this.#options;
    this.#sayExhausted();
    await this.#publish();
    await reach('cpuset.pool.published');
    const failures = await applier.move();
    await reach('cpuset.pool.moved');
    return failures;
  }

  /** {@link spread}, with a mask that cannot be published logged: containers are moved all the same. */
  async spreadAnyway(): Promise<readonly Failure[]> {
    const { applier, logger, metrics } = this.#options;
    try {
      return await this.spread();
    } catch (error) {
      metrics.failures.inc({ what: 'mask' });
      logger.warn({ error: describeError(error) }, 'the shared CPU mask could not be published; trying again');
      return await applier.move();
    }
  }

  /** {@link spreadAnyway} that nobody waits for: the pool grew, or the new owner is still to come and will wait. */
  spreadLater(): void {
    const spreading = this.spreadAnyway()
      .then((failures) => this.logFailures(failures))
      .finally(() => this.#background.delete(spreading));
    this.#background.add(spreading);
  }

  /**
   * Waits until the neighbours have left the CPUs.
   * @throws HoldfastError HOST_FAILURE naming those that could not be moved: the CPUs would not be exclusive
   */
  async clear(cpus: CpuSet): Promise<void> {
    const stop = this.#options.metrics.clearing.startTimer();
    const failures = await this.spread();
    stop();
    const inTheWay = failures.filter(({ member }) => lastKnown(member)?.overlaps(cpus) !== false);
    const [first] = inTheWay;
    if (first === undefined) return;
    const names = inTheWay.slice(0, MOST_NAMED).map(({ member }) => describeMember(member));
    throw new HoldfastError(
      'HOST_FAILURE',
      `CPUs ${cpus.toString()} are not free yet: ${inTheWay.length} other containers could not be moved off them (${names.join(', ')})`,
      { cause: first.error },
    );
  }

  logFailures(failures: readonly Failure[]): void {
    if (failures.length === 0) return;
    const shown = failures
      .slice(0, MOST_NAMED)
      .map(({ member, error }) => `${describeMember(member)}: ${describeError(error)}`);
    this.#options.logger.warn({ failed: shown, count: failures.length }, 'containers could not be moved; trying again');
  }

  /** Resolves when nothing goes on in the background. */
  async idle(): Promise<void> {
    while (this.#background.size > 0) await Promise.all(this.#background);
  }

  /** Once per change, and not with every pass. */
  #sayExhausted(): void {
    const { isExhausted, pool, logger } = this.#options;
    const exhausted = isExhausted();
    if (exhausted === this.#exhausted) return;
    this.#exhausted = exhausted;
    const shared = { cpus: pool().toString() };
    if (exhausted) {
      logger.error(
        shared,
        'every CPU that is left has an owner: shared containers run on owned CPUs until one is free again; bring CPUs back, or delete a pod that owns some',
      );
    } else logger.info(shared, 'shared containers have CPUs of their own again');
  }

  async #publish(): Promise<void> {
    const { pool, publishMask } = this.#options;
    await this.#mutex.run('', async () => {
      const cpus = pool();
      if (this.#published?.equals(cpus) === true) return;
      await publishMask({ cpus });
      this.#published = cpus;
    });
  }
}
