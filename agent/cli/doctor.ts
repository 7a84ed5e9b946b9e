// `holdfast doctor`: what on this host would keep Holdfast from doing its work, and what to do about it.
import { basename, join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { Command } from 'commander';
import { pino } from 'pino';
import { describeError } from '../../lib/errors.ts';
import { Admin, GetStatusRequestSchema } from '../../proto/gen/holdfast/admin/v1/admin_pb.ts';
import {
  ListPodResourcesRequestSchema,
  PodResourcesLister,
} from '../../proto/gen/wire/podresources/v1/podresources_pb.ts';
import { readCertificates } from '../api/certificates.ts';
import { ApiCredentials } from '../cluster/api-access.ts';
import { findKubeletKubeconfig, readKubeletConfig } from '../cluster/kubelet-config.ts';
import { probeOwners } from '../cluster/node-resource-topology-api.ts';
import { apiCredentials } from '../cluster/open-pod-source.ts';
import { probeApi } from '../cluster/probe-api.ts';
import { configPaths, loadConfig } from '../config/load.ts';
import type { AgentConfig } from '../config/schema.ts';
import { topologyAddress } from '../config/topology-address.ts';
import { readCpuAssignerFacts } from '../host/cpu-assigners.ts';
import { describeHostFacts, readHostFacts } from '../host/host-facts.ts';
import { type HostTree, openHostTree } from '../host/host-tree.ts';
import { planInstall } from '../install/plan-install.ts';
import { withCompiler } from '../install/probe-compiler.ts';
import { readLauncherMark, readUnitTexts } from '../install/read-program.ts';
import { openRuntime } from '../runtime/containerd.ts';
import { answerOf } from './answer-of.ts';
import { askAgent } from './ask-agent.ts';
import { checkCgroups } from './doctor-checks/cgroups.ts';
import type { Finding } from './doctor-checks/check.ts';
import { checkCpuAssigners } from './doctor-checks/cpu-assigners.ts';
import { checkInstallation } from './doctor-checks/installation.ts';
import { checkKubelet } from './doctor-checks/kubelet.ts';
import { checkNodeResourceTopology, NODE_RESOURCE_TOPOLOGY } from './doctor-checks/node-resource-topology.ts';
import { checkPodResources } from './doctor-checks/pod-resources.ts';
import { checkPodSource } from './doctor-checks/pod-source.ts';
import { checkServices, type RuntimeFacts } from './doctor-checks/services.ts';
import { checkTopologyApi } from './doctor-checks/topology-api.ts';
import { factsOf, openHost } from './install-host.ts';
import { lookAtNetwork } from './look-at-network.ts';
import { formatOutput, type OutputFormat, outputOption } from './output.ts';

/** For each look by itself: a slow one must not leave nothing for those after it. */
const TIMEOUT_MS = 20_000;

/** What cannot be looked at is a finding of its own and stops none of the others. */
async function orFinding(subject: string, look: () => Promise<readonly Finding[]>): Promise<readonly Finding[]> {
  try {
    return await look();
  } catch (error) {
    return [{ level: 'failed', subject, text: `could not be looked at: ${describeError(error)}` }];
  }
}

async function askRuntime(socket: string, signal: AbortSignal): Promise<RuntimeFacts> {
  const runtime = openRuntime({ endpoint: socket, logger: pino({ level: 'silent' }) });
  try {
    const { name, version } = await runtime.version(signal);
    return { name, version, hasLayers: runtime.layers !== undefined };
  } finally {
    runtime.close();
  }
}

async function lookAtServices({ runtime, paths }: AgentConfig, signal: AbortSignal): Promise<readonly Finding[]> {
  const agentSocket = join(paths.run, 'agent.sock');
  const shimSocket = join(paths.run, 'cri.sock');
  const [ofRuntime, ofAgent, ofShim] = await Promise.all([
    answerOf(() => askRuntime(runtime.endpoint, signal)),
    answerOf(async () => (await askAgent(agentSocket, Admin.method.getStatus, create(GetStatusRequestSchema))).version),
    answerOf(async () => {
      const { name, version } = await askRuntime(shimSocket, signal);
      return `${name} ${version}`;
    }),
  ]);
  return checkServices({
    runtimeSocket: runtime.endpoint,
    runtime: ofRuntime,
    agentSocket,
    agent: ofAgent,
    shimSocket,
    shim: ofShim,
  });
}

async function lookAtCgroups(tree: HostTree): Promise<readonly Finding[]> {
  const unified = await tree.readText('/sys/fs/cgroup/cgroup.controllers');
  const cpuset = await tree.list('/sys/fs/cgroup/cpuset');
  return [checkCgroups({ unifiedControllers: unified?.text, hasCpusetHierarchy: cpuset !== undefined })];
}

async function lookAtPodSource(
  { podSource, nodeName }: AgentConfig,
  tree: HostTree,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  const credentials = apiCredentials(podSource.api, tree);
  return checkPodSource({
    nodeName,
    api: credentials && (await answerOf(() => probeApi(credentials, nodeName, signal))),
    kubeletKubeconfig: await findKubeletKubeconfig(tree, signal),
  });
}

async function lookAtTopologyApi({ topologyApi }: AgentConfig): Promise<readonly Finding[]> {
  const { tls } = topologyApi;
  return checkTopologyApi({
    address: await answerOf(async () => topologyAddress(topologyApi)),
    certificates: tls && (await answerOf(() => readCertificates(tls))),
    now: new Date(),
  });
}

async function lookAtPodResources({ paths, podResources }: AgentConfig): Promise<readonly Finding[]> {
  const list = (socket: string) => async () => {
    const request = create(ListPodResourcesRequestSchema);
    return (await askAgent(socket, PodResourcesLister.method.list, request)).podResources.length;
  };
  const socket = join(paths.run, 'podresources.sock');
  const kubeletSocket = podResources.kubelet === 'off' ? undefined : join(paths.hostRoot, podResources.kubelet);
  const [own, kubelet] = await Promise.all([
    answerOf(list(socket)),
    kubeletSocket === undefined ? undefined : answerOf(list(kubeletSocket)),
  ]);
  return checkPodResources({ socket, own, kubeletSocket, kubelet });
}

async function lookAtNodeResourceTopology(
  { nodeResourceTopology, nodeName, paths }: AgentConfig,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  if (nodeResourceTopology === 'off') return [];
  const { kubeconfig } = nodeResourceTopology;
  const [owners, agent] = await Promise.all([
    answerOf(() => probeOwners(new ApiCredentials(async () => kubeconfig), nodeName, signal)),
    answerOf(async () => {
      const socket = join(paths.run, 'agent.sock');
      const { lines } = await askAgent(socket, Admin.method.getStatus, create(GetStatusRequestSchema));
      return lines.find(({ subject }) => subject === NODE_RESOURCE_TOPOLOGY);
    }),
  ]);
  return checkNodeResourceTopology({ nodeName, owners, agent });
}

/** Compares the host with what installing the same program again would make of it. */
async function lookAtInstallation(signal: AbortSignal): Promise<readonly Finding[]> {
  const host = await openHost('/', true);
  const facts = await factsOf(host, signal);
  const { manifest, programs } = facts;
  if (manifest === undefined) return checkInstallation(undefined, undefined);
  const launcherMark = await readLauncherMark(manifest.program);
  const program = {
    root: manifest.program,
    target: manifest.program,
    units: await readUnitTexts(manifest.program),
    isThere: programs.includes(basename(manifest.program)),
    ...(launcherMark === undefined ? {} : { launcherMark }),
  };
  const cni = await withCompiler({}, facts, program, signal);
  const options = { kubelet: manifest.kubelet !== undefined, overwrite: false, cni };
  return checkInstallation(manifest, planInstall(facts, program, options));
}

/**
 * All findings, in the order in which a person would ask.
 * @param signal - ends all looks; each has a limit of its own, too
 */
export async function diagnose(configFile: string | undefined, signal?: AbortSignal): Promise<readonly Finding[]> {
  const soon = (): AbortSignal => {
    const late = AbortSignal.timeout(TIMEOUT_MS);
    return signal === undefined ? late : AbortSignal.any([signal, late]);
  };
  const host = await orFinding('host', async () => [
    { level: 'ok', subject: 'host', text: describeHostFacts(await readHostFacts(soon())) },
  ]);
  const loaded = await answerOf(() => loadConfig(configPaths(configFile)));
  if ('problem' in loaded) {
    const remedy = 'holdfast config check shows every problem with its line';
    return [...host, { level: 'failed', subject: 'configuration', text: loaded.problem, remedy }];
  }
  const { config, files } = loaded.value;
  const text = files.length === 0 ? 'defaults: there is no file' : files.join(', ');
  const tree = await openHostTree(config.paths.hostRoot);
  return [
    ...host,
    { level: 'ok', subject: 'configuration', text },
    ...(await orFinding('services', () => lookAtServices(config, soon()))),
    ...(await orFinding('cgroups', () => lookAtCgroups(tree))),
    ...(await orFinding('kubelet', async () =>
      checkKubelet(await readKubeletConfig(tree, soon()), join(config.paths.run, 'cri.sock')),
    )),
    ...(await orFinding('pod source', () => lookAtPodSource(config, tree, soon()))),
    ...(await orFinding('topology api', () => lookAtTopologyApi(config))),
    ...(await orFinding('pod resources', () => lookAtPodResources(config))),
    ...(await orFinding(NODE_RESOURCE_TOPOLOGY, () => lookAtNodeResourceTopology(config, soon()))),
    ...(await orFinding('network', () => lookAtNetwork(config, tree, soon()))),
    ...(await orFinding('installation', () => lookAtInstallation(soon()))),
    ...(await orFinding('other node agents', async () => checkCpuAssigners(await readCpuAssignerFacts(tree, soon())))),
  ];
}

const MARKS: Readonly<Record<Finding['level'], string>> = { ok: 'ok     ', warning: 'WARNING', failed: 'FAILED ' };

/** What people read: a line per finding, its remedy below it. */
export function formatFindings(findings: readonly Finding[]): string {
  const lines = findings.flatMap(({ level, subject, text, remedy }) => [
    `${MARKS[level]}  ${subject}: ${text}`,
    ...(remedy === undefined ? [] : [`         → ${remedy}`]),
  ]);
  return `${lines.join('\n')}\n`;
}

export function doctorCommand(): Command {
  return new Command('doctor')
    .description('check this host, and say what to do about what is wrong')
    .option('--config <file>', 'configuration file of the agent')
    .addOption(outputOption())
    .action(async ({ config, output }: { readonly config?: string; readonly output: OutputFormat }) => {
      const findings = await diagnose(config);
      process.stdout.write(formatOutput(output, findings, () => formatFindings(findings)));
      if (findings.some(({ level }) => level === 'failed')) process.exitCode = 1;
    });
}
