// Clients for agents over TCP, with mutual TLS. The certificates are read again when they may have changed, so that a
// renewed one is used from the next connection on.
import { type ChannelCredentials, Client, credentials } from '@grpc/grpc-js';
import { readManifestFile } from '../../agent/cluster/file-read.ts';
import { HoldfastError } from '../../lib/errors.ts';
import { MAX_MESSAGE_BYTES } from '../../lib/grpc.ts';

export interface AgentTls {
  /** PEM files. */
  readonly caFile: string;
  readonly certificateFile: string;
  readonly keyFile: string;
  /** Whose name the agent's certificate must bear: the address that is connected to, or the node's. */
  readonly verify: 'address' | 'nodeName';
}

export interface AgentEndpoint {
  readonly node: string;
  /** `host:port`; IPv6 in brackets. */
  readonly address: string;
}

/** Between two looks at the files. */
const REREAD_MS = 10_000;

/** A stream is silent while nothing changes; the pings tell a silent agent from a lost one. */
const KEEPALIVE_MS = 10_000;
const KEEPALIVE_TIMEOUT_MS = 10_000;

const CHANNEL_OPTIONS = {
  'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
  'grpc.keepalive_time_ms': KEEPALIVE_MS,
  'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT_MS,
  // A connection each, kept and ended by us; nobody asks channelz.
  'grpc.use_local_subchannel_pool': 1,
  'grpc.enable_channelz': 0,
  'grpc.enable_retries': 0,
  'grpc.service_config_disable_resolution': 1,
  'grpc.enable_http_proxy': 0,
} as const;

export class AgentConnector {
  readonly #tls: AgentTls | undefined;
  #files: { readonly text: string; readonly made: ChannelCredentials } | undefined;
  #readAt = Number.NEGATIVE_INFINITY;
  #reading: Promise<ChannelCredentials> | undefined;

  /** @param tls - undefined: connections are not encrypted, as for agents on loopback */
  constructor(tls: AgentTls | undefined) {
    this.#tls = tls;
  }

  /** @throws HoldfastError INVALID_CONFIG when the certificates cannot be used */
  async connect({ node, address }: AgentEndpoint): Promise<Client> {
    if (this.#tls === undefined) return new Client(address, credentials.createInsecure(), CHANNEL_OPTIONS);
    const made = await this.#credentials(this.#tls);
    const options = { ...CHANNEL_OPTIONS, ...(this.#tls.verify === 'nodeName' && named(node)) };
    return new Client(address, made, options);
  }

  async #credentials(tls: AgentTls): Promise<ChannelCredentials> {
    if (this.#files !== undefined && performance.now() - this.#readAt < REREAD_MS) return this.#files.made;
    this.#reading ??= this.#read(tls).finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  /** Made anew only when a file has another content: the context is shared by all connections. */
  async #read({ caFile, certificateFile, keyFile }: AgentTls): Promise<ChannelCredentials> {
    try {
      const [ca, certificate, key] = await Promise.all([caFile, certificateFile, keyFile].map(readManifestFile));
      const text = `${ca}\n${certificate}\n${key}`;
      if (this.#files?.text !== text) {
        const pem = [ca, key, certificate].map((each) => Buffer.from(each ?? '')) as [Buffer, Buffer, Buffer];
        this.#files = { text, made: credentials.createSsl(...pem) };
      }
      this.#readAt = performance.now();
      return this.#files.made;
    } catch (cause) {
      // A file that is just being replaced: what was read before still serves.
      if (this.#files !== undefined) return this.#files.made;
      throw new HoldfastError('INVALID_CONFIG', 'the certificates for the agents (agents.tls) cannot be used', {
        cause,
      });
    }
  }
}

const named = (node: string) => ({ 'grpc.ssl_target_name_override': node, 'grpc.default_authority': node });
