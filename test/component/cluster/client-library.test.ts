// The Kubernetes client library takes some 80 MB: it is loaded only where a cluster is configured.
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';

const run = promisify(execFile);
const source = (path: string): string => JSON.stringify(new URL(`../../../${path}`, import.meta.url).href);

/** Prints LOADED when anything asks for the library, in a process that loads the agent and opens its pod source. */
const hook = `
import { writeSync } from 'node:fs';
export async function resolve(specifier, context, next) {
  if (specifier.startsWith('@kubernetes/')) writeSync(1, 'LOADED\\n');
  return next(specifier, context);
}`;

const program = (api: string): string => `
import { register } from 'node:module';
register(${JSON.stringify(`data:text/javascript,${encodeURIComponent(hook)}`)});
await import(${source('agent/cli/agent.ts')});
await import(${source('agent/cli/doctor.ts')});
await import(${source('agent/wiring.ts')});
const { openPodSource } = await import(${source('agent/cluster/open-pod-source.ts')});
const { openHostTree } = await import(${source('agent/host/host-tree.ts')});
const { createRegistry } = await import(${source('agent/api/metrics-server.ts')});
const { pino } = await import('pino');
const logger = pino({ level: 'silent' });
const tree = await openHostTree('/');
const opened = await openPodSource({ api: ${api}, nodeName: 'n', tree, metrics: createRegistry(), logger });
console.log('OPENED', opened.status().name);
opened.close();
process.exit(0);
`;

t.test('it is loaded for the watch on an API server, and for nothing else', async (t) => {
  const folder = await mkdtemp(join(os.tmpdir(), 'holdfast-library-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const kubeconfig = join(folder, 'kubeconfig');
  await writeFile(
    kubeconfig,
    JSON.stringify({
      'current-context': 'c',
      contexts: [{ name: 'c', context: { cluster: 'c', user: 'u' } }],
      clusters: [{ name: 'c', cluster: { server: 'https://127.0.0.1:1' } }],
      users: [{ name: 'u', user: { token: 'x' } }],
    }),
  );
  const cwd = fileURLToPath(new URL('../../..', import.meta.url));
  const outputOf = async (api: string): Promise<string> => {
    const file = join(folder, 'program.mjs');
    await writeFile(file, program(api).replaceAll("'pino'", source('node_modules/pino/pino.js')));
    return (await run(process.execPath, ['--import=tsx', file], { cwd })).stdout;
  };
  t.equal(await outputOf('"off"'), 'OPENED none\n');
  t.match(await outputOf(JSON.stringify({ kubeconfig })), /LOADED[\s\S]*OPENED API server/);
});
