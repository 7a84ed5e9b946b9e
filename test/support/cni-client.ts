// Speaks the protocol of cni.sock by hand, for tests that need to do it wrongly; and a server in front of a handler.
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Registry } from 'prom-client';
import type { Test } from 'tap';
import { CNI_LIMITS, type CniLimits, type CniServer, serveCni } from '../../agent/api/cni-server.ts';
import { createLogger } from '../../agent/log.ts';
import type { CniHandler } from '../../agent/network/cni/request.ts';

export const ENVIRONMENT = {
  CNI_CONTAINERID: 'c0ffee',
  CNI_NETNS: '/run/netns/blue',
  CNI_IFNAME: 'eth0',
  CNI_PATH: '/opt/cni/bin',
};

/** A configuration with which every command of the version succeeds. */
export function configOf(command: string, cniVersion = '1.1.0'): Readonly<Record<string, unknown>> {
  const version = cniVersion === '0.4.0' ? { version: '4' } : {};
  return {
    cniVersion,
    name: 'pods',
    type: 'holdfast',
    ...(command === 'GC' ? { 'cni.dev/valid-attachments': [] } : {}),
    ...(command === 'CHECK' ? { prevResult: { ips: [{ address: '10.1.0.5/16', ...version }] } } : {}),
  };
}

export function encodeRequest(variables: Readonly<Record<string, string>>, stdin: string): Buffer {
  const names = Object.entries(variables).map(([name, value]) => `${name}=${value}\0`);
  const head = `holdfast-cni/1 ${Buffer.byteLength(names.join(''))} ${Buffer.byteLength(stdin)}\n`;
  return Buffer.from(`${head}${names.join('')}${stdin}`);
}

/** A good request. */
export function requestOf(command: string, cniVersion?: string): Buffer {
  return encodeRequest({ CNI_COMMAND: command, ...ENVIRONMENT }, JSON.stringify(configOf(command, cniVersion)));
}

export async function connectTo(t: Test, path: string): Promise<net.Socket> {
  const socket = net.connect({ path, allowHalfOpen: true });
  t.teardown(() => socket.destroy());
  await once(socket, 'connect');
  return socket;
}

/** Everything until the server closes, as an answer; undefined where it is none. */
export async function answerOf(socket: net.Socket) {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  // The server may have closed before it took everything; what it answered is there all the same.
  socket.on('error', () => {});
  socket.once('end', () => socket.end());
  if (!socket.closed) await once(socket, 'close');
  const match = /^(\d+) (\d+)\n([\s\S]*)$/.exec(Buffer.concat(chunks).toString());
  if (match === null || Buffer.byteLength(match[3] ?? '') !== Number(match[2])) return undefined;
  return { exitStatus: Number(match[1]), stdout: match[3] ?? '' };
}

export interface TestServer extends CniServer {
  readonly path: string;
  readonly registry: Registry;
}

/** On a socket of its own; closed and removed with the test. */
export async function startCniServer(
  t: Test,
  handler: CniHandler,
  limits: Partial<CniLimits> = {},
): Promise<TestServer> {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-cni-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, 'cni.sock');
  const registry = new Registry();
  const server = await serveCni({
    path,
    handler,
    registry,
    logger: createLogger('silent'),
    limits: { ...CNI_LIMITS, ...limits },
  });
  t.teardown(() => server.close(0));
  return { ...server, path, registry };
}
