// The gRPC health protocol: which services of this server answer now.

import { Changes } from '../../lib/changes.ts';
import { HoldfastError } from '../../lib/errors.ts';
import {
  type Health,
  HealthCheckResponse_ServingStatus as Serving,
} from '../../proto/gen/wire/grpc/health/v1/health_pb.ts';
import type { Handlers } from './handlers.ts';

/** The services' states. The empty name stands for the whole server, as the protocol says. */
export class HealthState {
  readonly #changes = new Changes();
  readonly #serving = new Map<string, boolean>([['', false]]);

  /** @param services - full names; none serves until {@link set} */
  constructor(services: readonly string[]) {
    for (const service of services) this.#serving.set(service, false);
  }

  /** The whole server and all of its services at once. */
  set(serving: boolean): void {
    for (const service of this.#serving.keys()) this.#serving.set(service, serving);
    this.#changes.announce();
  }

  statusOf(service: string): Serving {
    const serving = this.#serving.get(service);
    if (serving === undefined) return Serving.SERVICE_UNKNOWN;
    return serving ? Serving.SERVING : Serving.NOT_SERVING;
  }

  /** The present state, then each change of it. */
  async *watch(service: string, signal: AbortSignal): AsyncGenerator<Serving, void, undefined> {
    let told: Serving | undefined;
    for (;;) {
      const { version } = this.#changes;
      const now = this.statusOf(service);
      if (now !== told) yield now;
      told = now;
      await this.#changes.after(version, signal);
    }
  }
}

export function healthHandlers(state: HealthState): Handlers<typeof Health> {
  return {
    check: async ({ service }) => {
      const found = state.statusOf(service);
      if (found === Serving.SERVICE_UNKNOWN) {
        throw new HoldfastError('NOT_FOUND', `there is no service "${service.slice(0, 200)}" here`);
      }
      return { status: found };
    },
    watch: async function* ({ service }, { signal }) {
      for await (const found of state.watch(service, signal)) yield { status: found };
    },
  };
}
