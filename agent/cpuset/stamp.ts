// What the feature writes into a container's annotations, so that the books can be rebuilt from the runtime when the
// store is lost. Only containers carry it: a sandbox's annotations come from the pod's author, a container's do not.
import { CpuSet } from '../model/cpu-set.ts';
import { decodeHolding, encodeHolding, type PodHolding } from './holding.ts';

/** The CPUs that the container was created with. */
export const CPUS_ANNOTATION = 'internal.holdfast.dev/cpus';
/** The memory nodes that it was bound to; absent when it was bound to none. */
export const MEMS_ANNOTATION = 'internal.holdfast.dev/mems';
/** What its pod held then, as JSON; absent when it held nothing. */
export const HOLDING_ANNOTATION = 'internal.holdfast.dev/holding';

export interface Stamp {
  readonly cpus?: CpuSet;
  readonly mems?: CpuSet;
  readonly holding?: PodHolding;
}

export function writeStamp(
  cpus: CpuSet,
  mems: CpuSet | undefined,
  holding: PodHolding | undefined,
): Readonly<Record<string, string>> {
  return {
    [CPUS_ANNOTATION]: cpus.toString(),
    ...(mems === undefined ? {} : { [MEMS_ANNOTATION]: mems.toString() }),
    ...(holding === undefined ? {} : { [HOLDING_ANNOTATION]: JSON.stringify(encodeHolding(holding)) }),
  };
}

function readSet(text: string | undefined): CpuSet | undefined {
  if (text === undefined) return undefined;
  try {
    const set = CpuSet.parse(text);
    return set.isEmpty ? undefined : set;
  } catch {
    // Not ours, or damaged: as good as absent, the kernel and the books are looked at instead.
    return undefined;
  }
}

function readHolding(text: string | undefined): PodHolding | undefined {
  if (text === undefined) return undefined;
  try {
    return decodeHolding(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** Parts that are absent or cannot be read are left out. */
export function readStamp(annotations: Readonly<Record<string, string>>): Stamp {
  const cpus = readSet(annotations[CPUS_ANNOTATION]);
  const mems = readSet(annotations[MEMS_ANNOTATION]);
  const holding = readHolding(annotations[HOLDING_ANNOTATION]);
  return {
    ...(cpus === undefined ? {} : { cpus }),
    ...(mems === undefined ? {} : { mems }),
    ...(holding === undefined ? {} : { holding }),
  };
}
