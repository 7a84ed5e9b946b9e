// An API server that knows nothing but pods, over real HTTPS: list, watch and the writes of a node as Kubernetes has
// them, and every way in which they fail, on demand.
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import type { TLSSocket } from 'node:tls';
import { pollUntil } from '../../agent/cli/quickstart/poll.ts';
import { writePod } from './fake-pod-writes.ts';
import type { KeyPair } from './test-certificates.ts';

export interface FakePod {
  readonly metadata: {
    readonly uid: string;
    readonly name: string;
    readonly namespace: string;
    readonly resourceVersion: string;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly deletionTimestamp?: string;
    readonly ownerReferences?: readonly FakeOwner[];
  };
  readonly spec: Readonly<Record<string, unknown>>;
  readonly status?: { readonly phase: string; readonly reason?: string; readonly message?: string };
}

export interface FakeOwner {
  readonly kind: string;
  readonly controller?: boolean;
}

export interface PodDetails {
  readonly uid?: string;
  readonly namespace?: string;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly deletionTimestamp?: string;
  readonly ownerReferences?: readonly FakeOwner[];
  readonly spec?: Readonly<Record<string, unknown>>;
  readonly phase?: string;
}

interface HistoryEvent {
  readonly version: number;
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly object: FakePod;
}

/** Between a stop and the next start somebody else may have it. */
const PORT_PATIENCE_MS = 60_000;

type RequestKind = 'list' | 'watch' | 'write';

export interface SeenRequest {
  readonly kind: RequestKind;
  readonly parameters: URLSearchParams;
  readonly authorization: string | undefined;
  /** Common name of the client's certificate. */
  readonly clientName: string | undefined;
}

/** Answers in the place of the server. */
export type Responder = (response: ServerResponse) => void;

/** metav1.Status. */
export function refusal(code: number, reason: string, message: string, details?: object): Responder {
  return (response) => {
    response.writeHead(code, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ kind: 'Status', status: 'Failure', code, reason, message, details }));
  };
}

const line = (type: string, object: object): string => `${JSON.stringify({ type, object })}\n`;

export class FakeApiServer {
  readonly requests: SeenRequest[] = [];
  /** Every request must have it, when set. */
  token: string | undefined;
  /** What a list from the server's memory shows, instead of the present state. */
  staleVersion: number | undefined;
  readonly #identity: KeyPair;
  readonly #ca: string;
  #server: https.Server | undefined;
  #port = 0;
  #version = 100;
  #history: HistoryEvent[] = [];
  /** Events up to this one are forgotten. */
  #compacted = 0;
  readonly #watches = new Set<ServerResponse>();
  readonly #planned: { readonly kind: RequestKind; readonly respond: Responder }[] = [];

  constructor(identity: KeyPair, ca: string) {
    this.#identity = identity;
    this.#ca = ca;
  }

  get url(): string {
    return `https://127.0.0.1:${this.#port}`;
  }

  get version(): number {
    return this.#version;
  }

  get openWatches(): number {
    return this.#watches.size;
  }

  /** Listens, after a stop on the same port as before. */
  async start(): Promise<void> {
    const { cert, key } = this.#identity;
    const options = { cert, key, ca: this.#ca, requestCert: true, rejectUnauthorized: false };
    const server = https.createServer(options, (request, response) => this.#answer(request, response));
    await pollUntil('the port to be free again', PORT_PATIENCE_MS, async () => {
      server.listen(this.#port, '127.0.0.1');
      await once(server, 'listening');
      return true;
    });
    this.#port = (server.address() as AddressInfo).port;
    this.#server = server;
  }

  async stop(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    this.#server = undefined;
    this.#watches.clear();
    server.close();
    server.closeAllConnections();
    await once(server, 'close');
  }

  create(name: string, details: PodDetails = {}): FakePod {
    return this.#change('ADDED', name, details);
  }

  update(name: string, details: PodDetails = {}): FakePod {
    return this.#change('MODIFIED', name, details);
  }

  delete(name: string, details: PodDetails = {}): FakePod {
    return this.#change('DELETED', name, details);
  }

  /** Forgets the history: who watches from before gets 410. */
  compact(): void {
    this.#compacted = this.#version;
  }

  /** As after a restored backup: what came after the version has never been. */
  restore(version: number): void {
    this.#version = version;
    this.#history = this.#history.filter((event) => event.version <= version);
  }

  bookmark(): void {
    for (const watch of this.#watches) watch.write(this.#bookmark());
  }

  /** To all open watches, as it is. */
  write(text: string): void {
    for (const watch of this.#watches) watch.write(text);
  }

  /** Ends all watches in order, as when their time is up. */
  endWatches(): void {
    for (const watch of this.#takeWatches()) watch.end();
  }

  /** Cuts the connections, after this text. */
  cutWatches(text = ''): void {
    for (const watch of this.#takeWatches()) {
      if (text === '') watch.destroy();
      else watch.write(text, () => watch.destroy());
    }
  }

  /** They get nothing more. */
  #takeWatches(): readonly ServerResponse[] {
    const taken = [...this.#watches];
    this.#watches.clear();
    return taken;
  }

  /** The next request of this kind is answered like that. */
  answerNext(kind: RequestKind, respond: Responder): void {
    this.#planned.push({ kind, respond });
  }

  requestsOf(kind: RequestKind): readonly SeenRequest[] {
    return this.requests.filter((request) => request.kind === kind);
  }

  #change(type: HistoryEvent['type'], name: string, details: PodDetails): FakePod {
    const { uid = `uid-${name}`, namespace = 'default', spec, phase } = details;
    const { annotations, deletionTimestamp, ownerReferences } = details;
    return this.#record(type, {
      metadata: {
        uid,
        name,
        namespace,
        resourceVersion: '',
        ...(annotations === undefined ? {} : { annotations }),
        ...(deletionTimestamp === undefined ? {} : { deletionTimestamp }),
        ...(ownerReferences === undefined ? {} : { ownerReferences }),
      },
      spec: spec ?? { containers: [{ name: 'main' }] },
      ...(phase === undefined ? {} : { status: { phase } }),
    });
  }

  #record(type: HistoryEvent['type'], pod: FakePod): FakePod {
    this.#version += 1;
    const object = { ...pod, metadata: { ...pod.metadata, resourceVersion: String(this.#version) } };
    this.#history.push({ version: this.#version, type, object });
    for (const watch of this.#watches) watch.write(line(type, object));
    return object;
  }

  /** The pods that there are now. */
  pods(): readonly FakePod[] {
    return this.#podsAt(this.#version);
  }

  #podsAt(version: number): readonly FakePod[] {
    const pods = new Map<string, FakePod>();
    for (const event of this.#history.filter((each) => each.version <= version)) {
      if (event.type === 'DELETED') pods.delete(event.object.metadata.uid);
      else pods.set(event.object.metadata.uid, event.object);
    }
    return [...pods.values()];
  }

  #bookmark(): string {
    return line('BOOKMARK', { kind: 'Pod', metadata: { resourceVersion: String(this.#version) } });
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const { searchParams } = new URL(request.url ?? '/', this.url);
    const reads: RequestKind = searchParams.get('watch') === 'true' ? 'watch' : 'list';
    const kind = request.method === 'GET' ? reads : 'write';
    const clientName = (request.socket as TLSSocket).getPeerX509Certificate()?.subject.replace('CN=', '');
    const { authorization } = request.headers;
    this.requests.push({ kind, parameters: searchParams, authorization, clientName });
    const planned = this.#planned.findIndex((each) => each.kind === kind);
    if (planned >= 0) this.#planned.splice(planned, 1)[0]?.respond(response);
    else if (this.token !== undefined && authorization !== `Bearer ${this.token}`) {
      refusal(401, 'Unauthorized', 'Unauthorized')(response);
    } else if (kind === 'write') void this.#write(request, response);
    else if (kind === 'list') this.#list(searchParams, response);
    else this.#watch(searchParams, response);
  }

  async #write(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url: path = '' } = request;
    const result = writePod({ method, path, body: await text(request) }, this.pods());
    if ('refusal' in result) {
      const { code, reason, message } = result.refusal;
      refusal(code, reason, message)(response);
      return;
    }
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify(this.#record(result.type, result.pod)));
  }

  #list(parameters: URLSearchParams, response: ServerResponse): void {
    const wanted = Number(parameters.get('resourceVersion') ?? '-1');
    if (wanted > this.#version) {
      const message = `Too large resource version: ${wanted}, current: ${this.#version}`;
      refusal(504, 'Timeout', message, { causes: [{ reason: 'ResourceVersionTooLarge' }] })(response);
      return;
    }
    const [from, at] = (parameters.get('continue') ?? `0 ${this.#version}`).split(' ').map(Number);
    const version = wanted >= 0 ? (this.staleVersion ?? this.#version) : (at ?? this.#version);
    const all = this.#podsAt(version);
    const limit = Number(parameters.get('limit') ?? all.length);
    const end = (from ?? 0) + limit;
    const metadata = {
      resourceVersion: String(version),
      ...(end < all.length ? { continue: `${end} ${version}` } : {}),
    };
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ kind: 'PodList', apiVersion: 'v1', metadata, items: all.slice(from, end) }));
  }

  #watch(parameters: URLSearchParams, response: ServerResponse): void {
    const since = Number(parameters.get('resourceVersion'));
    response.writeHead(200, { 'content-type': 'application/json' });
    response.flushHeaders();
    if (since < this.#compacted) {
      const message = `too old resource version: ${since} (${this.#compacted})`;
      response.end(line('ERROR', { kind: 'Status', code: 410, reason: 'Expired', message }));
      return;
    }
    for (const { version, type, object } of this.#history) if (version > since) response.write(line(type, object));
    this.#watches.add(response);
    response.on('close', () => this.#watches.delete(response));
  }
}
