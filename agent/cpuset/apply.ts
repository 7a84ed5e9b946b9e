// Brings containers to where they belong: cgroups of running ones, specs of those that are created and not started.
import type { Logger } from 'pino';
import { describeError, HoldfastError } from '../../lib/errors.ts';
import type { CgroupAccess, ContainerCgroup } from '../host/cgroupfs.ts';
import { mapBounded } from '../host/host-tree.ts';
import type { CpuSet } from '../model/cpu-set.ts';
import type { ContainerId } from '../model/ids.ts';
import type { ContainerRuntime, OciSpec } from '../runtime/runtime.ts';
import type { Seat } from './ledger.ts';
import { describeMember, type Member, type Members, mayRun } from './members.ts';
import type { CpusetMetrics } from './metrics.ts';
import type { Teller } from './teller.ts';

/** Cgroups written at a time. */
const AT_ONCE = 16;
const RUNTIME_TIMEOUT_MS = 5_000;
/** Repairs that are logged one by one per pass. */
const MOST_LOGGED = 10;

export interface ApplierOptions {
  readonly members: Members;
  readonly cgroups: CgroupAccess;
  readonly runtime: ContainerRuntime;
  readonly teller: Teller;
  readonly seatOf: (member: Member) => Seat;
  readonly metrics: CpusetMetrics;
  readonly logger: Logger;
  /** Passes a failpoint. */
  readonly reach: (point: string) => Promise<void>;
}

/** A container that is not where it belongs, and why. */
export interface Failure {
  readonly member: Member;
  readonly error: unknown;
}

/** The spec with other CPUs; undefined when it has them. */
export function withCpuset(spec: OciSpec, cpus: CpuSet, mems: CpuSet | undefined): OciSpec | undefined {
  const cpu = spec.linux?.resources?.cpu;
  const sameMems = mems === undefined || cpu?.mems === mems.toString();
  if (cpu?.cpus === cpus.toString() && sameMems) return undefined;
  return {
    ...spec,
    linux: {
      ...spec.linux,
      resources: {
        ...spec.linux?.resources,
        cpu: { ...cpu, cpus: cpus.toString(), ...(mems === undefined ? {} : { mems: mems.toString() }) },
      },
    },
  };
}

export class Applier {
  readonly #options: ApplierOptions;
  #running: Promise<unknown> = Promise.resolve();
  #next: Promise<readonly Failure[]> | undefined;

  constructor(options: ApplierOptions) {
    this.#options = options;
  }

  /**
   * Moves every container whose place has changed. Calls during a pass share the next one.
   * @returns those that could not be moved
   */
  move(): Promise<readonly Failure[]> {
    if (this.#next !== undefined) return this.#next;
    const pass = this.#running.then(() => {
      this.#next = undefined;
      return this.#pass((member) => this.#moveOne(member));
    });
    this.#next = pass;
    // Only for the next pass to follow; whoever asked for this one learns how it went.
    this.#running = pass.catch(() => undefined);
    return pass;
  }

  /** Finds the cgroups of running containers whose processes are known already. */
  async locateAll(processIds: ReadonlyMap<ContainerId, number>): Promise<void> {
    await this.#pass(async (member) => {
      const pid = processIds.get(member.id);
      if (pid === undefined || member.cgroup !== undefined || !mayRun(member)) return;
      member.cgroup = await this.#options.cgroups.locate(pid, member.id, member.podUid);
    });
  }

  /** Compares every running container with the kernel. @returns those that could not be put right */
  async checkAll(): Promise<readonly Failure[]> {
    const repaired: string[] = [];
    const failures = await this.#pass(async (member) => {
      if (member.state === 'running') repaired.push(...(await this.check(member)));
      else await this.#moveOne(member);
      this.#options.teller.request(member);
    });
    if (repaired.length > 0) {
      const shown = repaired.slice(0, MOST_LOGGED);
      this.#options.logger.warn(
        { repaired: shown, count: repaired.length },
        'put back CPUs that something else changed',
      );
    }
    return failures;
  }

  /**
   * Compares one running container with the kernel and puts right what differs.
   * @returns what something else had changed since we wrote it, for the log
   */
  async check(member: Member): Promise<readonly string[]> {
    const { cgroups, teller, seatOf, metrics } = this.#options;
    await teller.settled(member.id);
    const cgroup = await this.#cgroupOf(member);
    if (cgroup === undefined) return [];
    const actual = await cgroups.read(cgroup);
    const seat = seatOf(member);
    const repaired: string[] = [];
    const cpusDiffer = actual === undefined || !actual.cpus.equals(seat.cpus);
    const memsDiffer = member.mems !== undefined && actual?.mems.equals(member.mems) !== true;
    // It may have been the runtime that wrote other CPUs, and it then has those in its records: it is told again.
    if (cpusDiffer && member.told?.equals(seat.cpus) === true) member.told = undefined;
    if (cpusDiffer || memsDiffer) {
      const ours = member.written?.equals(seat.cpus) === true;
      if (!(await cgroups.write(cgroup, seat.cpus, memsDiffer ? member.mems : undefined))) {
        this.#gone(member);
        return [];
      }
      if (ours || memsDiffer) {
        const what = memsDiffer ? 'mems' : 'cpus';
        metrics.repairs.inc({ what });
        repaired.push(`${describeMember(member)}: ${what} ${actual?.[what].toString() ?? 'unset'}`);
      } else metrics.moves.inc();
    }
    member.written = seat.cpus;
    if (seat.exclusive) repaired.push(...(await this.#unthrottle(member, cgroup)));
    return repaired;
  }

  /** Writes the CPUs into the spec of a container that was created and not started. */
  async editSpec(member: Member): Promise<void> {
    const { runtime, teller, seatOf, reach } = this.#options;
    const { cpus } = seatOf(member);
    if (member.told?.equals(cpus) === true) return;
    const signal = AbortSignal.timeout(RUNTIME_TIMEOUT_MS);
    if (runtime.specs === undefined) await runtime.updateCpuset(member.id, cpus, member.mems, signal);
    else await runtime.specs.edit(member.id, (spec) => withCpuset(spec, cpus, member.mems), signal);
    await reach('cpuset.spec.edited');
    await teller.remember(member, cpus);
  }

  async #pass(work: (member: Member) => Promise<void>): Promise<readonly Failure[]> {
    const { members, metrics } = this.#options;
    const failures: Failure[] = [];
    await mapBounded(members.list(), AT_ONCE, async (member) => {
      try {
        await work(member);
        member.problem = undefined;
      } catch (error) {
        member.problem = describeError(error);
        metrics.failures.inc({ what: member.state === 'created' ? 'spec' : 'cgroup' });
        failures.push({ member, error });
      }
    });
    return failures;
  }

  async #moveOne(member: Member): Promise<void> {
    const { cgroups, teller, seatOf, metrics } = this.#options;
    if (member.state === 'created') {
      await this.editSpec(member);
      return;
    }
    if (!mayRun(member)) return;
    await teller.settled(member.id);
    const seat = seatOf(member);
    if (member.written?.equals(seat.cpus) === true) return;
    const cgroup = await this.#cgroupOf(member);
    if (cgroup === undefined) {
      if (member.state === 'unknown') await this.#checkGone(member);
      return;
    }
    if (!(await cgroups.write(cgroup, seat.cpus, undefined, member.written))) {
      this.#gone(member);
      return;
    }
    member.written = seat.cpus;
    metrics.moves.inc();
    teller.request(member);
  }

  async #cgroupOf(member: Member): Promise<ContainerCgroup | undefined> {
    if (member.cgroup !== undefined) return member.cgroup;
    const { runtime, cgroups } = this.#options;
    const pid = await runtime.processId(member.id, AbortSignal.timeout(RUNTIME_TIMEOUT_MS));
    member.cgroup = pid === undefined ? undefined : await cgroups.locate(pid, member.id, member.podUid);
    return member.cgroup;
  }

  /** Its cgroup went with its last process. */
  #gone(member: Member): void {
    member.cgroup = undefined;
    member.written = undefined;
    if (mayRun(member)) this.#options.members.setState(member, 'exited');
  }

  /**
   * Its cgroup cannot be found, and the runtime did not say whether its process lives.
   * @throws HoldfastError HOST_FAILURE unless the runtime says now that it does not
   */
  async #checkGone(member: Member): Promise<void> {
    const status = await this.#options.runtime.containerStatus(member.id, AbortSignal.timeout(RUNTIME_TIMEOUT_MS));
    if (status === undefined || status.state === 'exited') {
      this.#gone(member);
      return;
    }
    throw new HoldfastError(
      'HOST_FAILURE',
      `the runtime does not know whether container ${member.id} still runs (state ${status.state}) and names no process of it: its cgroup cannot be found; remove the container, or start the runtime again`,
    );
  }

  async #unthrottle(member: Member, cgroup: ContainerCgroup): Promise<readonly string[]> {
    const lifted = await this.#options.cgroups.liftQuota(cgroup);
    const again = member.unthrottled;
    member.unthrottled = true;
    // The kubelet gives every pod a quota at its start: the first time is no repair.
    if (lifted === 0 || !again) return [];
    this.#options.metrics.repairs.inc({ what: 'quota' }, lifted);
    return [`${describeMember(member)}: CPU quota`];
  }
}
