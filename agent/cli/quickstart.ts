// `holdfast quickstart`: the main job on this host, with real containers and nothing of the host's touched.
import { once } from 'node:events';
import { create } from '@bufbuild/protobuf';
import { Command } from 'commander';
import { HoldfastError } from '../../lib/errors.ts';
import {
  GetTopologyRequestSchema,
  ListAllocationsRequestSchema,
  Topology,
} from '../../proto/gen/holdfast/topology/v1/topology_pb.ts';
import { readHostTopology } from '../topology/read-topology.ts';
import { askAgent } from './ask-agent.ts';
import { quickstartPods } from './quickstart/pods.ts';
import { type PrivateHost, startPrivateHost } from './quickstart/private-host.ts';
import { holdfastExecutable } from './quickstart/program.ts';
import { createReport, type Report } from './quickstart/report.ts';
import { tour } from './quickstart/tour.ts';
import { drawTopology } from './topology-picture.ts';

const WIDEST = 120;

interface Terminal {
  readonly interactive: boolean;
  readonly colour: boolean;
  readonly width: number;
}

function terminal(): Terminal {
  const interactive = process.stdout.isTTY === true && process.stdin.isTTY === true;
  const colour =
    process.stdout.isTTY === true && (process.env['NO_COLOR'] ?? '') === '' && process.env['TERM'] !== 'dumb';
  return { interactive, colour, width: Math.min(WIDEST, process.stdout.columns ?? 80) };
}

async function picture({ topologySocket }: PrivateHost, { colour, width }: Terminal): Promise<string> {
  const [host, allocations] = await Promise.all([
    askAgent(topologySocket, Topology.method.getTopology, create(GetTopologyRequestSchema)),
    askAgent(topologySocket, Topology.method.listAllocations, create(ListAllocationsRequestSchema)),
  ]);
  return drawTopology(host, allocations, { width, colour });
}

/** With the sockets of this quickstart, ready to be pasted. */
function commandsToTry({ agentSocket, topologySocket }: PrivateHost): string {
  const holdfast = `${process.env['SUDO_USER'] === undefined ? '' : 'sudo '}${holdfastExecutable()}`;
  return [
    `${holdfast} status --socket ${agentSocket}`,
    `${holdfast} topology --socket ${topologySocket}`,
    `${holdfast} reuse ls --socket ${agentSocket}`,
    `${holdfast} reuse export web-0/app web-0.tar --socket ${agentSocket}`,
  ].join('\n');
}

async function showHost(host: PrivateHost, screen: Terminal, report: Report): Promise<void> {
  process.stdout.write('\n');
  report.block(await picture(host, screen));
}

async function stay(host: PrivateHost, report: Report, signal: AbortSignal): Promise<void> {
  process.stdout.write('\nTo try in another terminal:\n');
  report.block(commandsToTry(host));
  process.stdout.write('\nEverything stays as it is until Ctrl-C.\n');
  if (!signal.aborted) await once(signal, 'abort');
}

async function quickstart(stays: boolean, screen: Terminal, signal: AbortSignal): Promise<void> {
  if (process.platform !== 'linux') throw new HoldfastError('UNSUPPORTED', 'quickstart needs Linux');
  if (process.geteuid?.() !== 0) {
    throw new HoldfastError('PRECONDITION', 'quickstart makes containers and needs root for it: sudo npm start');
  }
  const report = createReport({ write: (text) => process.stdout.write(text), colour: screen.colour });
  const { topology } = await readHostTopology('/', signal);
  const pods = quickstartPods(topology.usableCpus.size);
  process.stdout.write('Holdfast quickstart: real containers, all of it private to this run and removed at its end.\n');
  const started = Date.now();
  const host = await startPrivateHost({
    signal,
    pods: [pods.web, pods.neighbour, pods.greedy],
    onProgress: (what) => report.note(`${what} is up`),
  });
  try {
    await tour({ host, pods, report, signal });
    await showHost(host, screen, report);
    process.stdout.write(`\nAll of it was verified in ${Math.round((Date.now() - started) / 1000)} s.\n`);
    if (stays) await stay(host, report, signal);
  } finally {
    process.stdout.write('\nCleaning up.\n');
    await host.stop();
  }
}

/** `holdfast quickstart [--once]`; exit code 0 when everything was as promised, 1 when not, 130 after Ctrl-C in the middle. */
export function quickstartCommand(): Command {
  return new Command('quickstart')
    .description('run the main job on this host: a private containerd, the agent, the cri-shim and a few pods')
    .option('--once', 'end after the last step instead of staying until Ctrl-C', false)
    .action(async ({ once: onlyOnce }: { readonly once: boolean }) => {
      const interrupted = new AbortController();
      const onSignal = (name: NodeJS.Signals): void => {
        // A second signal ends it at once; what is left is removed by the next start.
        if (interrupted.signal.aborted) process.exit(130);
        interrupted.abort(new Error(`received ${name}`));
      };
      process.on('SIGINT', onSignal).on('SIGTERM', onSignal).on('SIGHUP', onSignal);
      const screen = terminal();
      try {
        await quickstart(screen.interactive && !onlyOnce, screen, interrupted.signal);
      } catch (error) {
        // What the interruption broke is no news; the clean-up has been done.
        if (!interrupted.signal.aborted) throw error;
        process.stderr.write('holdfast: quickstart was interrupted\n');
        process.exitCode = 130;
      }
    });
}
