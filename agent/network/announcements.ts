// Tells neighbours where addresses are, after whoever asked has its answer.
import type { Logger } from 'pino';
import { describeError } from '../../lib/errors.ts';
import type { LinkPlan, PodLinks } from '../host/network/pod-links.ts';

export class Announcements {
  readonly #links: Pick<PodLinks, 'announce'>;
  readonly #logger: Logger;
  readonly #ending = new AbortController();
  readonly #telling = new Set<Promise<void>>();

  constructor(links: Pick<PodLinks, 'announce'>, logger: Logger) {
    this.#links = links;
    this.#logger = logger;
  }

  /** @param netns - path of the sandbox's network namespace */
  tell(netns: string, plan: LinkPlan): void {
    const telling = this.#tell(netns, plan);
    this.#telling.add(telling);
    void telling.finally(() => this.#telling.delete(telling));
  }

  /** What is under way is cut short. */
  async close(): Promise<void> {
    this.#ending.abort();
    await Promise.all(this.#telling);
  }

  async #tell(netns: string, plan: LinkPlan): Promise<void> {
    try {
      await this.#links.announce(netns, plan, this.#ending.signal);
    } catch (error) {
      if (this.#ending.signal.aborted) return;
      const fields = { hostName: plan.hostName, error: describeError(error) };
      this.#logger.warn(fields, 'neighbours could not be told of an address');
    }
  }
}
