// Does another node agent or an NRI plugin assign CPUs too? Pure.
import type { CpuAssignerFacts } from '../../host/cpu-assigners.ts';
import type { Finding } from './check.ts';

/** Programs that write the cpusets of containers, by the base name of their executable. */
const ASSIGNERS: readonly { readonly name: RegExp; readonly what: string; readonly remedy: string }[] = [
  {
    name: /^koordlet$/,
    what: "Koordinator's node agent",
    remedy: 'turn off its CPUSetAllocator and CPUSuppress features, or keep the koordlet DaemonSet off this node',
  },
  {
    name: /^nri-resource-policy-/,
    what: 'an NRI resource policy plugin',
    remedy: "keep the plugin's DaemonSet off this node (a node selector or taint), then restart the pods it has placed",
  },
  {
    name: /^cri-resmgr$/,
    what: 'CRI Resource Manager',
    remedy: 'point the kubelet past it (to the shim) and stop cri-resource-manager.service',
  },
  {
    name: /^katalyst-agent$/,
    what: "Katalyst's node agent",
    remedy: 'keep the katalyst-agent DaemonSet off this node',
  },
];

/** Plugins in NRI's own folder are called `<two digits>-<name>`. */
const ASSIGNING_PLUGIN = /^\d\d-(?:.*(?:resource-policy|topology-aware|balloons|cpuset|cpu-pinning|koord).*)$/;

function checkProcesses({ processes }: CpuAssignerFacts): readonly Finding[] {
  const subject = 'other node agents';
  const found = ASSIGNERS.flatMap(({ name, what, remedy }): Finding[] => {
    const running = processes.filter((process) => name.test(process.name));
    if (running.length === 0) return [];
    const who = running.map((process) => `${process.name} (process ${process.pid})`).join(', ');
    return [
      {
        level: 'warning',
        subject,
        text: `${what} runs here, which assigns CPUs as well: ${who}; what it changes is put right, again and again`,
        remedy,
      },
    ];
  });
  return found.length > 0 ? found : [{ level: 'ok', subject, text: 'none that is known to assign CPUs' }];
}

function checkNri({ nriSocket, nriPlugins, nriConfigs }: CpuAssignerFacts): Finding {
  const subject = 'NRI plugins';
  const assigning = nriPlugins.filter((name) => ASSIGNING_PLUGIN.test(name));
  if (assigning.length > 0) {
    return {
      level: 'warning',
      subject,
      text: `the runtime starts plugins that assign CPUs as well: ${assigning.join(', ')}`,
      remedy: `remove ${assigning.map((name) => `/opt/nri/plugins/${name}`).join(' ')} and restart the runtime`,
    };
  }
  const installed = [...nriPlugins, ...nriConfigs.map((name) => `configuration ${name}`)];
  if (installed.length > 0) {
    return { level: 'ok', subject, text: `installed, none known to assign CPUs: ${installed.join(', ')}` };
  }
  return { level: 'ok', subject, text: nriSocket ? 'none installed; the runtime lets plugins connect' : 'none' };
}

/** What else hands out this host's CPUs. Programs that only move interrupts or tune the kernel (irqbalance, tuned) do not. */
export function checkCpuAssigners(facts: CpuAssignerFacts): readonly Finding[] {
  return [...checkProcesses(facts), checkNri(facts)];
}
