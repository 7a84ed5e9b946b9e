// An API server that knows one Node and the kind NodeResourceTopology, over real HTTPS: server-side apply with field
// managers as Kubernetes has it for a list that is owned as a whole.
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import https from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import type { KeyPair } from './test-certificates.ts';

export interface AppliedObject {
  readonly metadata: { readonly name: string; readonly ownerReferences?: readonly { readonly uid: string }[] };
  readonly zones: readonly { readonly name: string }[];
  readonly attributes?: readonly { readonly name: string; readonly value: string }[];
}

export class FakeTopologyServer {
  readonly nodeName: string;
  /** Undefined: there is no such Node. */
  nodeUid: string | undefined = 'node-uid';
  hasKind = true;
  mayWrite = true;
  /** Answers nothing but this status, when set. */
  outage: number | undefined;
  object: AppliedObject | undefined;
  /** Who owns the zones. */
  manager: string | undefined;
  /** Each apply that was accepted. */
  readonly applied: { readonly object: AppliedObject; readonly force: boolean }[] = [];
  /** Of every request: method and path. */
  readonly requests: string[] = [];
  /** What requests must bear, when set; others are answered 401. */
  token: string | undefined;
  /** Connections that were made. */
  connections = 0;
  readonly #sockets = new Set<Socket>();
  readonly #server: https.Server;

  constructor(nodeName: string, { cert, key }: KeyPair) {
    this.nodeName = nodeName;
    this.#server = https.createServer({ cert, key }, (request, response) => void this.#answer(request, response));
    // A connection that its client leaves open stays open.
    this.#server.keepAliveTimeout = 0;
    this.#server.on('connection', (socket: Socket) => {
      this.connections += 1;
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
  }

  /** Connections that are open now. */
  get open(): number {
    return this.#sockets.size;
  }

  get url(): string {
    return `https://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async start(): Promise<void> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  async stop(): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, 'close');
  }

  /** As another program does it, with an update. */
  write(manager: string, zones: AppliedObject['zones']): void {
    this.object = { metadata: { name: this.nodeName }, ...this.object, zones };
    this.manager = manager;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(request.url ?? '/', this.url);
    this.requests.push(`${request.method} ${pathname}`);
    const body = await text(request);
    const group = '/apis/topology.node.k8s.io/v1alpha2';
    const isKnown = this.token === undefined || request.headers.authorization === `Bearer ${this.token}`;
    if (!isKnown) this.#refuse(response, 401, 'Unauthorized');
    else if (this.outage !== undefined) this.#refuse(response, this.outage, 'outage');
    else if (pathname === `/api/v1/nodes/${this.nodeName}`) this.#node(request, response);
    else if (!this.hasKind && pathname.startsWith(group)) {
      response.writeHead(404, { 'content-type': 'text/plain' }).end('404 page not found\n');
    } else if (pathname === group) this.#send(response, { kind: 'APIResourceList' });
    else if (pathname !== `${group}/noderesourcetopologies/${this.nodeName}`) this.#refuse(response, 404, 'not found');
    else if (request.method === 'GET') this.#read(response);
    else if (!this.mayWrite) this.#refuse(response, 403, 'User "agent" cannot patch resource');
    else this.#apply(request, response, searchParams, body);
  }

  #node(request: IncomingMessage, response: ServerResponse): void {
    const wantsLess = request.headers.accept?.includes('as=PartialObjectMetadata') === true;
    if (this.nodeUid === undefined || !wantsLess)
      this.#refuse(response, this.nodeUid === undefined ? 404 : 400, 'node');
    else this.#send(response, { kind: 'PartialObjectMetadata', metadata: { uid: this.nodeUid } });
  }

  #read(response: ServerResponse): void {
    const { object, manager } = this;
    const managedFields = [{ manager, operation: 'Apply', fieldsV1: { 'f:zones': {} } }];
    if (object === undefined) this.#refuse(response, 404, 'not found');
    else this.#send(response, { ...object, metadata: { ...object.metadata, managedFields } });
  }

  #apply(request: IncomingMessage, response: ServerResponse, parameters: URLSearchParams, body: string): void {
    if (request.headers['content-type'] !== 'application/apply-patch+yaml' || request.method !== 'PATCH') {
      this.#refuse(response, 415, 'no apply');
      return;
    }
    const object = JSON.parse(body) as AppliedObject;
    const manager = parameters.get('fieldManager') ?? '';
    const force = parameters.get('force') === 'true';
    const differs = JSON.stringify(object.zones) !== JSON.stringify(this.object?.zones);
    if (this.manager !== undefined && this.manager !== manager && differs && !force) {
      const message = `conflict with "${this.manager}" using topology.node.k8s.io/v1alpha2`;
      const causes = [{ reason: 'FieldManagerConflict', message, field: '.zones' }];
      this.#refuse(response, 409, `Apply failed with 1 conflict: ${message}: .zones`, { causes });
      return;
    }
    const code = this.object === undefined ? 201 : 200;
    this.object = object;
    this.manager = manager;
    this.applied.push({ object, force });
    this.#send(response, object, code);
  }

  #send(response: ServerResponse, body: object, code = 200): void {
    response.writeHead(code, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  }

  #refuse(response: ServerResponse, code: number, message: string, details?: object): void {
    this.#send(response, { kind: 'Status', status: 'Failure', code, message, details }, code);
  }
}
