// Do the runtime, the agent and the shim answer, and can the runtime's layers be kept? Pure.
import type { Finding } from './check.ts';

/** What a service said, or why it said nothing. */
export type Answer<Value> = { readonly value: Value } | { readonly problem: string };

export interface RuntimeFacts {
  readonly name: string;
  readonly version: string;
  /** Writable layers are within reach: it is containerd. */
  readonly hasLayers: boolean;
}

export interface ServiceFacts {
  readonly runtimeSocket: string;
  readonly runtime: Answer<RuntimeFacts>;
  readonly agentSocket: string;
  /** Version of the running agent. */
  readonly agent: Answer<string>;
  readonly shimSocket: string;
  /** What the runtime's Version says through the shim. */
  readonly shim: Answer<string>;
}

function checkRuntime({ runtime, runtimeSocket }: ServiceFacts): readonly Finding[] {
  const subject = 'runtime';
  if ('problem' in runtime) {
    return [
      {
        level: 'failed',
        subject,
        text: `nothing answers on ${runtimeSocket}: ${runtime.problem}`,
        remedy: 'start the container runtime, or set runtime.endpoint in the configuration to its socket',
      },
    ];
  }
  const { name, version, hasLayers } = runtime.value;
  const found: Finding = { level: 'ok', subject, text: `${name} ${version} on ${runtimeSocket}` };
  if (hasLayers) return [found];
  return [
    found,
    {
      level: 'warning',
      subject: 'writable layers',
      text: `${name} does not let its writable layers be handed over: pods with restart: reuse are rebuilt, with a warning`,
      remedy: 'use containerd with the overlayfs snapshotter where data must survive restarts',
    },
  ];
}

function checkAgent({ agent, agentSocket }: ServiceFacts): Finding {
  if ('value' in agent) return { level: 'ok', subject: 'agent', text: `version ${agent.value} on ${agentSocket}` };
  return {
    level: 'failed',
    subject: 'agent',
    text: `${agent.problem}; pods with reuse, exclusive or required are neither created nor removed meanwhile`,
    remedy: 'systemctl start holdfast-agent; journalctl -u holdfast-agent says why it ended',
  };
}

function checkShim({ shim, shimSocket }: ServiceFacts): Finding {
  if ('value' in shim) return { level: 'ok', subject: 'cri-shim', text: `relays to ${shim.value} on ${shimSocket}` };
  return {
    level: 'failed',
    subject: 'cri-shim',
    text: `nothing answers on ${shimSocket}: ${shim.problem}`,
    remedy:
      'systemctl start holdfast-cri-shim.socket holdfast-cri-shim; journalctl -u holdfast-cri-shim says why it ended',
  };
}

export function checkServices(facts: ServiceFacts): readonly Finding[] {
  return [...checkRuntime(facts), checkAgent(facts), checkShim(facts)];
}
