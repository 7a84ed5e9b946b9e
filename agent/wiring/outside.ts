// What lies outside the agent, opened: host, runtime, pod source, store.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Registry as MetricsRegistry } from 'prom-client';
import { describeError } from '../../lib/errors.ts';
import { readKubeletConfig } from '../cluster/kubelet-config.ts';
import { openPodSource } from '../cluster/open-pod-source.ts';
import { openCgroups } from '../host/cgroupfs.ts';
import { openHostTree } from '../host/host-tree.ts';
import type { StatusLine } from '../lifecycle/feature.ts';
import { openRuntime } from '../runtime/containerd.ts';
import { openStore } from '../state/open-store.ts';
import { readHostTopology } from '../topology/read-topology.ts';
import type { WiringOptions } from './options.ts';

/** @throws HoldfastError when the topology cannot be read or the state directory cannot be used */
export async function openOutside({ config, logger, shutdown }: WiringOptions, metrics: MetricsRegistry) {
  const tree = await openHostTree(config.paths.hostRoot);
  const kubelet = await readKubeletConfig(tree, shutdown);
  const { topology, remarks } = await readHostTopology(config.paths.hostRoot, shutdown);
  for (const remark of remarks) logger.warn({}, remark);
  const cgroups = await openCgroups(config.paths.hostRoot);
  await mkdir(config.paths.run, { recursive: true, mode: 0o755 });
  // From here on things are open that keep the process alive: what can fail comes before.
  const { store, recovery } = await openStore({
    directory: join(config.paths.state, 'state'),
    onProblem: (error) => logger.error({ error: describeError(error) }, 'state store'),
  });
  if (recovery !== undefined) logger.error({ ...recovery }, 'the state was damaged and is being rebuilt');
  const { staticManifests } = config.podSource;
  const podSource = await openPodSource({
    api: config.podSource.api,
    file: config.podSource.file,
    staticManifests: staticManifests === 'off' ? undefined : (staticManifests ?? kubelet?.staticPodPath),
    nodeName: config.nodeName,
    tree,
    metrics,
    logger,
  });
  const runtime = openRuntime({ endpoint: config.runtime.endpoint, logger });
  return { tree, kubelet, topology, cgroups, store, recovered: recovery !== undefined, podSource, runtime };
}

export type Outside = Awaited<ReturnType<typeof openOutside>>;

/** The pod source's own line of `holdfast status`. */
export function podSourceLine({ podSource }: Pick<Outside, 'podSource'>): StatusLine {
  const { name, ageMs, problem } = podSource.status();
  const age = `${name}, ${Math.round(ageMs / 1000)} s old`;
  if (problem !== undefined) return { subject: 'pod source', level: 'warning', text: `${age}: ${problem}` };
  return { subject: 'pod source', level: 'ok', text: name === 'none' ? 'none: see docs/podsource.md' : age };
}
