// The answers to the scheduler, one after the other and at a time: nodes are states that were never served by anybody.
import t from 'tap';
import { Ledger } from '../../../agent/cpuset/ledger.ts';
import { buildMachine } from '../../../agent/cpuset/machine.ts';
import { CpuSet } from '../../../agent/model/cpu-set.ts';
import { podUid } from '../../../agent/model/ids.ts';
import { bytes, milliCpu } from '../../../agent/model/quantity.ts';
import { Machines } from '../../../extender/planning/machines.ts';
import { type HostState, planHost } from '../../../extender/planning/plan-host.ts';
import { Fleet } from '../../../extender/scheduling/fleet.ts';
import { InFlight } from '../../../extender/scheduling/in-flight.ts';
import { Scheduling } from '../../../extender/scheduling/scheduling.ts';
import { evenHost, GIB } from '../../support/hand-made-hosts.ts';
import { NO_POLICY_RULES, publish } from '../../support/published-host.ts';
import { podFacts, REQUIRED_EXCLUSIVE } from '../../support/random-pods.ts';
import { PLAN_RULES } from '../../support/topology-agent.ts';

const NEVER = new AbortController().signal;
const MINUTE_MS = 60_000;

/** One NUMA node of `cpus` CPUs, of which the first is the pool's. */
function nodeOf(cpus: number): HostState {
  const ledger = new Ledger(buildMachine(evenHost(1, cpus, 1), CpuSet.of(0)), PLAN_RULES);
  const { topology, allocations } = publish(ledger);
  return planHost(topology, allocations, new Machines(), PLAN_RULES);
}

function pod(name: string, cpus: number, annotations: Readonly<Record<string, string>> = REQUIRED_EXCLUSIVE) {
  const cpu = milliCpu(cpus * 1000);
  return podFacts(name, annotations, { cpuLimit: cpu, cpuRequest: cpu, memoryRequest: bytes(GIB) });
}

function schedule(nodes: Readonly<Record<string, HostState>>) {
  const fleet = new Fleet(MINUTE_MS);
  const inFlight = new InFlight(MINUTE_MS);
  let waits = 0;
  const scheduling = new Scheduling({
    fleet,
    inFlight,
    policy: NO_POLICY_RULES,
    withoutAgent: { lost: 'refuse', unknown: 'refuse' },
    waitMs: MINUTE_MS,
    onWait: () => {
      waits += 1;
    },
  });
  for (const [name, state] of Object.entries(nodes)) fleet.publish(name, state);
  const filter = (facts: ReturnType<typeof pod>, names: readonly string[], signal = NEVER) =>
    scheduling.filter(facts, '', names, signal);
  return { fleet, inFlight, scheduling, filter, waits: () => waits };
}

t.test('of two pods that wait for the last place one gets it', async (t) => {
  const { scheduling, filter } = schedule({ n: nodeOf(4) });
  t.same((await filter(pod('first', 3), ['n'])).passed, ['n']);
  const impatient = new AbortController();
  const waiting = [filter(pod('second', 3), ['n']), filter(pod('third', 3), ['n'], impatient.signal)] as const;
  scheduling.onPodGone(podUid('first'));
  t.same((await waiting[0]).passed, ['n']);
  impatient.abort(new Error('still waiting'));
  await t.rejects(waiting[1], /still waiting/);
});
