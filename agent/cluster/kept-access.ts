// An access to the API server that is kept for several requests, so that they share a connection. Whoever keeps it drops
// it after failures and now and then: only a new one reads the credentials again.
import https from 'node:https';
import type { ApiAccess, ApiCredentials } from './api-access.ts';

export class KeptAccess {
  readonly #credentials: Pick<ApiCredentials, 'open'>;
  #access: ApiAccess | undefined;

  constructor(credentials: Pick<ApiCredentials, 'open'>) {
    this.#credentials = credentials;
  }

  /** The kept one, or a new one. @throws as {@link ApiCredentials.open} */
  async open(signal: AbortSignal): Promise<ApiAccess> {
    this.#access ??= withKeepAlive(await this.#credentials.open(signal));
    return this.#access;
  }

  /** Ends its connections. */
  drop(): void {
    this.#access?.close();
    this.#access = undefined;
  }
}

/** The agents of proxies stay as they are: each of their requests has a tunnel of its own. */
function withKeepAlive(access: ApiAccess): ApiAccess {
  const { agent } = access.options;
  if (!(agent instanceof https.Agent)) return access;
  const keeping = new https.Agent({ ...agent.options, keepAlive: true });
  return {
    ...access,
    options: { ...access.options, agent: keeping },
    close: () => {
      keeping.destroy();
      access.close();
    },
  };
}
