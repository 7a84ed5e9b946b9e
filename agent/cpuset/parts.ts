// What the feature is built from: the host and the runtime as it reaches them, and what it is configured with.
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import type { Failpoint } from '../../lib/failpoint.ts';
import type { CgroupAccess } from '../host/cgroupfs.ts';
import type { CpuSet } from '../model/cpu-set.ts';
import type { HostTopology } from '../model/host-topology.ts';
import type { SharedMask } from '../model/shared-mask.ts';
import type { ContainerRuntime } from '../runtime/runtime.ts';
import type { Store } from '../state/store.ts';
import type { PlanRules } from './room.ts';

export interface CpusetParts {
  readonly store: Store;
  readonly runtime: ContainerRuntime;
  readonly topology: HostTopology;
  readonly cgroups: CgroupAccess;
  readonly logger: Logger;
  readonly registry: Registry;
  readonly options: PlanRules & {
    /** Never owned exclusively, always in the shared pool. */
    readonly reservedCpus: CpuSet;
  };
  /** What the shim gives default containers while the agent is away; resolves when a reader would see it. */
  readonly publishMask: (mask: SharedMask) => Promise<void>;
  /** Something that schedulers can see has changed. */
  readonly onChange: () => void;
  /** For crash tests. */
  readonly failpoint?: Failpoint;
}
