// Looks again at containers whose resources something else has just updated through the runtime. What we answered to the
// update may have been overtaken by a change of the shared pool before the runtime wrote it: we do not see that write,
// and the next reconciling is half a minute away.
import type { Logger } from 'pino';
import { describeError } from '../../lib/errors.ts';
import type { ContainerId } from '../model/ids.ts';
import type { Applier } from './apply.ts';
import { describeMember, type Members } from './members.ts';
import type { CpusetMetrics } from './metrics.ts';
import type { Teller } from './teller.ts';

/** An update takes the runtime some 10 ms; one that takes longer than this is left to reconciling. */
const DELAY_MS = 2_000;

export interface RecheckOptions {
  readonly members: Members;
  readonly applier: Applier;
  readonly teller: Teller;
  readonly metrics: CpusetMetrics;
  readonly logger: Logger;
}

export class Rechecks {
  readonly #options: RecheckOptions;
  readonly #timers = new Map<ContainerId, NodeJS.Timeout>();
  readonly #checking = new Set<Promise<void>>();

  constructor(options: RecheckOptions) {
    this.#options = options;
  }

  /** Checks the container once, in a while; a later update puts it off. */
  later(id: ContainerId): void {
    clearTimeout(this.#timers.get(id));
    this.#timers.set(id, setTimeout(() => this.#begin(id), DELAY_MS).unref());
  }

  /** Checks at once what is still to be checked, and resolves when that is done. */
  async idle(): Promise<void> {
    for (const id of this.#timers.keys()) this.#begin(id);
    await Promise.all(this.#checking);
  }

  /** Ends checking; the next start compares all containers. */
  async close(): Promise<void> {
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
    await Promise.all(this.#checking);
  }

  #begin(id: ContainerId): void {
    clearTimeout(this.#timers.get(id));
    this.#timers.delete(id);
    const checking = this.#check(id).finally(() => this.#checking.delete(checking));
    this.#checking.add(checking);
  }

  async #check(id: ContainerId): Promise<void> {
    const { members, applier, teller, metrics, logger } = this.#options;
    const member = members.get(id);
    if (member === undefined) return;
    try {
      if (member.state === 'created') {
        // The update has rewritten the spec, and with it what we knew of it.
        member.told = undefined;
        await applier.editSpec(member);
      } else if (member.state === 'running') {
        const repaired = await applier.check(member);
        if (repaired.length > 0) logger.info({ repaired }, 'put back CPUs after an update');
        teller.request(member);
      }
    } catch (error) {
      member.problem = describeError(error);
      metrics.failures.inc({ what: member.state === 'created' ? 'spec' : 'cgroup' });
      logger.warn(
        { failed: `${describeMember(member)}: ${member.problem}` },
        'a container could not be checked after an update; trying again',
      );
    }
  }
}
