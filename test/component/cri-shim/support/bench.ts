// One shim in this process, with its sockets in a directory of its own and everything closed after the test.
import { mkdtemp, rm } from 'node:fs/promises';
import { type ClientHttp2Session, type ClientHttp2Stream, connect, type OutgoingHttpHeaders } from 'node:http2';
import { connect as connectSocket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createAgentClient } from '../../../../cri-shim/agent-client.ts';
import { decodeStatusMessage } from '../../../../cri-shim/grpc/status-message.ts';
import { createLog } from '../../../../cri-shim/log.ts';
import type { RawHeaders } from '../../../../cri-shim/relay/headers.ts';
import { createShimServer, type ShimServer } from '../../../../cri-shim/relay/shim-server.ts';
import { SILENCE_LIMITS, type SilenceLimits } from '../../../../cri-shim/relay/silent-sessions.ts';
import { createUpstream } from '../../../../cri-shim/relay/upstream.ts';
import { createSharedCpusReader } from '../../../../cri-shim/shared-cpus.ts';
import { listenUnix } from '../../../../lib/unix-socket.ts';
import { type FakeAgent, startFakeAgent } from './fake-agent.ts';
import { type FakeRuntime, type RuntimeBehaviour, startFakeRuntime } from './fake-runtime.ts';

interface Teardown {
  teardown(handler: () => Promise<void> | void): void;
}

/** What a caller saw of one call. */
export interface SeenCall {
  readonly headers: RawHeaders | undefined;
  readonly body: Buffer;
  readonly trailers: RawHeaders | undefined;
  readonly resetWith: number;
  /** grpc-status and grpc-message, wherever they stood. */
  readonly status: number | undefined;
  readonly message: string;
}

export interface Bench {
  readonly directory: string;
  readonly runtimePath: string;
  readonly shimPath: string;
  readonly agentPath: string;
  readonly shim: ShimServer;
  readonly logged: string[];
  startRuntime(behaviour: RuntimeBehaviour): Promise<FakeRuntime>;
  startAgent(): Promise<FakeAgent>;
  connect(): ClientHttp2Session;
  call(path: string, frame: Uint8Array, headers?: OutgoingHttpHeaders): Promise<SeenCall>;
}

export async function startBench(t: Teardown, limits: SilenceLimits = SILENCE_LIMITS): Promise<Bench> {
  const directory = await mkdtemp(join(tmpdir(), 'shim-'));
  const runtimePath = join(directory, 'runtime.sock');
  const shimPath = join(directory, 'cri.sock');
  const agentPath = join(directory, 'agent.sock');
  const logged: string[] = [];
  const log = createLog({ write: (line) => logged.push(line), now: Date.now, linesPerPeriod: 1000, periodMs: 1000 });
  const upstream = createUpstream(runtimePath);
  const agent = createAgentClient(agentPath);
  const shim = createShimServer({ upstream, agent, sharedCpus: createSharedCpusReader(directory, log), log }, limits);
  await listenUnix(shim.server, shimPath, 0o600);
  const closers: (() => unknown)[] = [];
  const sessions: ClientHttp2Session[] = [];
  t.teardown(async () => {
    for (const session of sessions) session.destroy();
    await shim.drain(100);
    upstream.close();
    agent.close();
    for (const close of closers) await close();
    await rm(directory, { recursive: true });
  });
  const newSession = (): ClientHttp2Session => {
    const settings = { maxHeaderListSize: 1 << 20 };
    const session = connect('http://localhost', { settings, createConnection: () => connectSocket(shimPath) });
    session.on('error', () => {});
    sessions.push(session);
    return session;
  };
  return {
    directory,
    runtimePath,
    shimPath,
    agentPath,
    shim,
    logged,
    async startRuntime(behaviour) {
      const runtime = await startFakeRuntime(runtimePath, behaviour);
      closers.push(() => runtime.kill());
      return runtime;
    },
    async startAgent() {
      const fake = await startFakeAgent(agentPath);
      closers.push(() => fake.stop());
      return fake;
    },
    connect: newSession,
    async call(path, frame, headers = {}) {
      const session = newSession();
      try {
        const stream = session.request({ ...GRPC_HEADERS, ':path': path, ...headers });
        const seen = watch(stream);
        stream.end(frame);
        return await seen;
      } finally {
        session.close();
      }
    },
  };
}

export const GRPC_HEADERS: OutgoingHttpHeaders = {
  ':method': 'POST',
  te: 'trailers',
  'content-type': 'application/grpc',
};

function find(headers: RawHeaders | undefined, name: string): string | undefined {
  const index = (headers ?? []).findIndex((text, position) => position % 2 === 0 && text === name);
  return index < 0 ? undefined : headers?.[index + 1];
}

/** Everything that arrives on the stream until it is closed. */
export function watch(stream: ClientHttp2Stream): Promise<SeenCall> {
  return new Promise((resolve) => {
    let headers: RawHeaders | undefined;
    let trailers: RawHeaders | undefined;
    const chunks: Buffer[] = [];
    stream.on('response', (_parsed, _flags, raw?: RawHeaders) => {
      headers = raw;
    });
    stream.on('trailers', (_parsed, _flags, raw?: RawHeaders) => {
      trailers = raw;
    });
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.on('error', () => {});
    stream.on('close', () => {
      const status = find(trailers, 'grpc-status') ?? find(headers, 'grpc-status');
      const message = find(trailers, 'grpc-message') ?? find(headers, 'grpc-message') ?? '';
      resolve({
        headers,
        trailers,
        body: Buffer.concat(chunks),
        resetWith: stream.rstCode ?? 0,
        status: status === undefined ? undefined : Number(status),
        message: decodeStatusMessage(message),
      });
    });
  });
}

/** Waits for a condition that another process or socket brings about. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const end = Date.now() + 30_000;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`never happened: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
