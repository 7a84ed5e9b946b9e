// How the API server is reached: its address, whom it is trusted by, and as whom we come. The client library is loaded
// here, at the first attempt, and nowhere else: it takes about 80 MB of memory.
import type { OutgoingHttpHeaders } from 'node:http';
import type { RequestOptions } from 'node:https';
import { createSecureContext } from 'node:tls';
import type { KubeConfig } from '@kubernetes/client-node';
import { describeError, HoldfastError } from '../../lib/errors.ts';
import { type Kubeconfig, readKubeconfig } from './kubeconfig.ts';

export interface ApiAccess {
  /** URL; it may have a path. */
  readonly server: string;
  /** Stands for the cluster: the server and whom it is trusted by. */
  readonly origin: string;
  /** TLS, client certificate and agent. */
  readonly options: Omit<RequestOptions, 'headers'>;
  /** Credentials among them. */
  readonly headers: OutgoingHttpHeaders;
  /** Ends the agent's connections. */
  close(): void;
}

/** Opens accesses; each reads the files again. */
export class ApiCredentials {
  readonly #locate: (signal: AbortSignal) => Promise<string>;
  /** Keeps what credential plugins gave, for as long as they say. */
  #library: KubeConfig | undefined;
  #asking: Promise<RequestOptions> | undefined;
  readonly #pluginMs: number;

  /**
   * @param locate - where the kubeconfig is now; throws when there is none
   * @param pluginMs - a credential plugin that runs for longer is killed
   */
  constructor(locate: (signal: AbortSignal) => Promise<string>, pluginMs: number = PLUGIN_MS) {
    this.#locate = locate;
    this.#pluginMs = pluginMs;
  }

  /**
   * @throws HoldfastError INVALID_CONFIG when the kubeconfig or a file that it names cannot be used, UNAVAILABLE when
   *   a credential plugin fails, DEADLINE when it does not end
   */
  async open(signal: AbortSignal): Promise<ApiAccess> {
    const kubeconfig = await readKubeconfig(await this.#locate(signal));
    const { headers, ...options } = await this.#optionsFor(kubeconfig, signal);
    const { agent } = options;
    return {
      server: kubeconfig.server,
      origin: `${kubeconfig.server} ${kubeconfig.caData ?? ''}`,
      options,
      headers: headers as OutgoingHttpHeaders,
      close: () => {
        if (typeof agent === 'object') agent.destroy();
      },
    };
  }

  /** The server does not accept what plugins gave: they are asked again at the next opening. */
  forget(): void {
    this.#library = undefined;
  }

  async #optionsFor(kubeconfig: Kubeconfig, signal: AbortSignal): Promise<RequestOptions> {
    signal.throwIfAborted();
    // A plugin that hangs is waited for by all attempts: never are two of them started.
    this.#asking ??= this.#ask(kubeconfig).finally(() => {
      this.#asking = undefined;
    });
    return within(this.#pluginMs, this.#asking, signal);
  }

  async #ask(kubeconfig: Kubeconfig): Promise<RequestOptions> {
    const { KubeConfig } = await import('@kubernetes/client-node');
    this.#library ??= new KubeConfig();
    try {
      return await ask(this.#library, limited(kubeconfig, this.#pluginMs));
    } catch (error) {
      // It keeps a plugin's answer even if it cannot use it.
      this.#library = undefined;
      throw error;
    }
  }
}

const PLUGIN_MS = 60_000;
/** For a proxy's answer; destroying a request does not end the wait for it. */
const CONNECT_MS = 30_000;

/** The library waits for a plugin without end and hands out no process to kill: `timeout` of the coreutils ends it. */
function limited(kubeconfig: Kubeconfig, limitMs: number): Kubeconfig {
  const { exec } = kubeconfig;
  if (exec === undefined) return kubeconfig;
  const args = Array.isArray(exec['args']) ? (exec['args'] as readonly unknown[]) : [];
  const limits = ['--kill-after=5', String(limitMs / 1000)];
  return { ...kubeconfig, exec: { ...exec, command: 'timeout', args: [...limits, exec['command'], ...args] } };
}

async function ask(library: KubeConfig, { server, ...kubeconfig }: Kubeconfig): Promise<RequestOptions> {
  const { caData, tlsServerName, proxyUrl, ...user } = kubeconfig;
  const name = 'current';
  library.loadFromOptions({
    clusters: [
      {
        name,
        server,
        skipTLSVerify: false,
        ...(caData === undefined ? {} : { caData }),
        ...(tlsServerName === undefined ? {} : { tlsServerName }),
        ...(proxyUrl === undefined ? {} : { proxyUrl }),
      },
    ],
    users: [{ name, ...user }],
    contexts: [{ name, cluster: name, user: name }],
    currentContext: name,
  });
  // Said here, so that NODE_TLS_REJECT_UNAUTHORIZED cannot turn it off.
  const options: RequestOptions = { rejectUnauthorized: true, timeout: CONNECT_MS };
  try {
    await library.applyToHTTPSOptions(options);
    // Behind a proxy they are first used where nobody could catch the error.
    const { ca, cert, key } = options;
    createSecureContext({ ca, cert, key });
  } catch (error) {
    // Node quotes the text that is not JSON, which may be a token.
    const said = error instanceof SyntaxError ? 'its output is not JSON' : describeError(error).slice(0, 300);
    const why = said.trim() || 'the credential plugin failed without a word, or did not end in time';
    throw new HoldfastError('UNAVAILABLE', `the credentials cannot be had: ${why}`);
  }
  return options;
}

/** @throws HoldfastError DEADLINE; the signal's reason */
async function within<Value>(limitMs: number, promise: Promise<Value>, signal: AbortSignal): Promise<Value> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(new HoldfastError('DEADLINE', `the credential plugin did not end within ${limitMs / 1000} s`));
    }, limitMs);
    const onAbort = (): void => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    void promise.then(resolve, reject).finally(() => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
    });
  });
}
