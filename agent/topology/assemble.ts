// From the kernel's texts to the host as the planner sees it. Pure.
import { HoldfastError } from '../../lib/errors.ts';
import type { Confinement } from '../host/procfs.ts';
import type { RawHost } from '../host/sysfs.ts';
import { CpuSet } from '../model/cpu-set.ts';
import type { Cpu, HostTopology } from '../model/host-topology.ts';
import { assemblePlaces, assembleStates, type CpuPlace } from './assemble-cpus.ts';
import { assembleNodes } from './assemble-nodes.ts';
import { parseSet } from './kernel-text.ts';

export interface AssembledHost {
  readonly topology: HostTopology;
  /** What the files say that cannot be, and what was made of it; one sentence each. */
  readonly remarks: readonly string[];
}

const NOWHERE: CpuPlace = { core: -1, die: -1, socket: -1, l3: -1 };

/**
 * Puts the model together.
 *
 * Core, die and l3 are the number of the lowest online CPU in them; socket is the kernel's number where it is usable.
 * `numaNode` is -1 for an online CPU that no node claims (its node is offline): it can run shared containers only.
 * @throws HoldfastError HOST_FAILURE naming the file that holds garbage; PRECONDITION when no CPU is left to use
 */
export function assembleHost(raw: RawHost, confinement: Confinement): AssembledHost {
  const { present, online, isolated } = assembleStates(raw);
  if (online.isEmpty) throw new HoldfastError('PRECONDITION', 'the kernel calls no CPU online');
  const places = assemblePlaces(raw, online);
  const { nodes, nodeOfCpu, remarks } = assembleNodes(raw, present, online);
  const nodeNumbers = CpuSet.from(nodes.map(({ id }) => id));

  const usableCpus = confinement.cpus === undefined ? online : online.intersect(parseSet(confinement.cpus));
  if (usableCpus.isEmpty) {
    throw new HoldfastError(
      'PRECONDITION',
      `${confinement.cpus?.path} allows CPUs ${confinement.cpus?.text.trim()}, none of which is online (${online.toString()})`,
    );
  }
  const usableMems = confinement.mems === undefined ? nodeNumbers : nodeNumbers.intersect(parseSet(confinement.mems));

  const cpus = [...present].map(
    (id): Cpu => ({
      id,
      ...(places.get(id) ?? NOWHERE),
      numaNode: nodeOfCpu.get(id) ?? -1,
      online: online.has(id),
    }),
  );
  return { topology: { cpus, numaNodes: nodes, usableCpus, isolatedCpus: isolated, usableMems }, remarks };
}
