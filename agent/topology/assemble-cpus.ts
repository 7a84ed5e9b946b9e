// Cores, dies, sockets and cache groups from what the kernel says about each CPU. Pure.
import { HoldfastError } from '../../lib/errors.ts';
import type { HostText } from '../host/host-tree.ts';
import { type RawCpu, type RawHost, type SetText, topologyDirectory } from '../host/sysfs.ts';
import { CpuSet } from '../model/cpu-set.ts';
import { parseInteger, parseList, parseSet, unexpected } from './kernel-text.ts';

/** Where one CPU is; every number is unique on the host. */
export interface CpuPlace {
  readonly core: number;
  readonly die: number;
  readonly socket: number;
  readonly l3: number;
}

export interface CpuStates {
  readonly present: CpuSet;
  readonly online: CpuSet;
  readonly isolated: CpuSet;
}

type Topology = NonNullable<RawCpu['topology']>;

/** Present, online and isolated CPUs. Kernels of before 2009 have no such lists, only a file for each CPU. */
export function assembleStates(raw: RawHost): CpuStates {
  const directories = CpuSet.from(raw.cpus.map(({ id }) => id));
  const present = raw.present === undefined ? directories : parseList(raw.present);
  const online =
    raw.online === undefined
      ? CpuSet.from(raw.cpus.filter(isOnline).map(({ id }) => id))
      : parseList(raw.online).intersect(directories);
  return {
    present: present.union(online),
    online,
    isolated: raw.isolated === undefined ? CpuSet.EMPTY : parseList(raw.isolated).intersect(present),
  };
}

function isOnline(cpu: RawCpu): boolean {
  return cpu.online === undefined || parseInteger(cpu.online) === 1;
}

/** The ID in the file; -1 where there is none, or the firmware did not say. */
function idOf(file: HostText | undefined): number {
  return file === undefined ? -1 : Math.max(-1, parseInteger(file));
}

/** The group that a file puts the CPU in; alone where there is no file. @throws HoldfastError when the CPU is not in it */
function groupOf(id: number, file: SetText | undefined, among: CpuSet): CpuSet {
  if (file === undefined) return CpuSet.of(id);
  const group = parseSet(file);
  if (!group.has(id)) throw unexpected(file, `a set that CPU ${id} itself is in`);
  return group.intersect(among);
}

function lowest(group: CpuSet, id: number): number {
  return group.first() ?? id;
}

/**
 * The core: SMT siblings of the same core ID. AMD's compute units (Bulldozer) call two cores siblings, which have
 * different core IDs; an ID alone says nothing, as it repeats on other sockets and clusters.
 */
function coreOf(id: number, topology: Topology, among: CpuSet, coreIds: ReadonlyMap<number, number>): number {
  const own = coreIds.get(id);
  return lowest(
    groupOf(id, topology.threadSiblings, among).filter((cpu) => coreIds.get(cpu) === own),
    id,
  );
}

/**
 * Socket numbers: the kernel's own. Firmware that does not know them (-1: ARM, some virtual machines) has its groups
 * numbered behind those that are known.
 */
function socketsOf(cpus: readonly RawCpu[], among: CpuSet): ReadonlyMap<number, number> {
  const sockets = new Map(cpus.map(({ id, topology }) => [id, idOf(topology?.packageId)]));
  let next = Math.max(-1, ...new Set(sockets.values())) + 1;
  for (const { id, topology } of cpus) {
    if (sockets.get(id) !== -1) continue;
    const siblings = topology?.packageSiblings;
    const group = siblings === undefined ? among : groupOf(id, siblings, among);
    for (const member of [id, ...group]) if (sockets.get(member) === -1) sockets.set(member, next);
    next += 1;
  }
  return sockets;
}

/**
 * The place of each online CPU. A CPU without a `topology` directory is a core of its own.
 * @throws HoldfastError HOST_FAILURE naming the file that holds garbage
 */
export function assemblePlaces(raw: RawHost, online: CpuSet): ReadonlyMap<number, CpuPlace> {
  const cpus = raw.cpus.filter(({ id }) => online.has(id));
  // A CPU that went offline while we read has lost its directory, but its siblings may still name it.
  const described = CpuSet.from(cpus.filter(({ topology }) => topology !== undefined).map(({ id }) => id));
  const coreIds = new Map(cpus.map(({ id, topology }) => [id, idOf(topology?.coreId)]));
  const sockets = socketsOf(cpus, described.isEmpty ? online : described);
  const dies = new Map<string, number>();
  const places = new Map<number, CpuPlace>();
  for (const { id, topology, lastLevelCache } of cpus) {
    const socket = sockets.get(id) ?? 0;
    // Die IDs repeat on every socket; without one the socket is one die.
    const dieKey = `${socket} ${idOf(topology?.dieId)}`;
    const die = dies.get(dieKey) ?? id;
    dies.set(dieKey, die);
    places.set(id, {
      core: topology === undefined ? id : coreOf(id, topology, described, coreIds),
      die,
      socket,
      l3: lastLevelCache === undefined ? -1 : lowest(groupOf(id, lastLevelCache, online), id),
    });
  }
  checkCores(cpus, places);
  return places;
}

/** SMT siblings are in one socket and die: anything else would make the planner split cores. */
function checkCores(cpus: readonly RawCpu[], places: ReadonlyMap<number, CpuPlace>): void {
  for (const { id } of cpus) {
    const core = places.get(id)?.core ?? id;
    const [own, first] = [places.get(id), places.get(core)];
    if (own?.socket === first?.socket && own?.die === first?.die) continue;
    throw new HoldfastError(
      'HOST_FAILURE',
      `${topologyDirectory(id)} and ${topologyDirectory(core)} contradict each other: SMT siblings in different sockets or dies`,
    );
  }
}
