// What the feature asks of the host's network: join a sandbox, take it off, look at it. Carried out over netlink
// (agent/host/network), without a process per step.
import type { DataPlane } from './cni/request.ts';

export interface LinkAddress {
  /** Without prefix length, in its shortest form (RFC 5952). */
  readonly address: string;
  readonly family: 4 | 6;
  /** Of the subnet. In routed mode the interface gets the whole length (32 or 128) all the same. */
  readonly prefixLength: number;
  /** In bridge mode the bridge has it; undefined: the subnet has no way out. */
  readonly gateway: string | undefined;
}

export interface LinkRoute {
  /** With prefix length. */
  readonly destination: string;
  /** undefined: the gateway of the family. */
  readonly via: string | undefined;
}

/** Everything that is to be made for one attachment. */
export interface LinkPlan {
  /** Of the host's end; at most 15 characters, the same for the same attachment always. */
  readonly hostName: string;
  readonly ifname: string;
  /** Of the sandbox's end, derived from the address, so that neighbours' tables stay right when the pod moves. */
  readonly mac: string;
  readonly dataPlane: Exclude<DataPlane, { mode: 'ipam' }>;
  readonly addresses: readonly LinkAddress[];
  readonly routes: readonly LinkRoute[];
}

export interface Link {
  readonly hostName: string;
  readonly hostMac: string;
  readonly mac: string;
  readonly mtu: number;
}

/** One thing that is not as it should be, in a sentence. */
export type LinkProblem = string;

export interface PodLinks {
  /**
   * Makes the pair of interfaces, the addresses and the routes, or leaves nothing of it behind.
   * @param netns - path of the sandbox's network namespace
   * @throws HoldfastError INVALID_REQUEST when the namespace is none or has an interface of that name, HOST_FAILURE when
   *   the kernel refuses
   */
  attach(netns: string, plan: LinkPlan, signal: AbortSignal): Promise<Link>;

  /** The addresses speak no more when it resolves: the host's end is down and off its bridge, its routes are gone. */
  quiesce(hostName: string, signal: AbortSignal): Promise<void>;

  /** Removes the pair; nothing happens when it is not there. Costs the kernel tens of milliseconds. */
  remove(hostName: string, signal: AbortSignal): Promise<void>;

  /** What differs from the plan. */
  check(netns: string, plan: LinkPlan, signal: AbortSignal): Promise<readonly LinkProblem[]>;

  /** The host's ends that have our prefix, whoever's they are. */
  list(prefix: string, signal: AbortSignal): Promise<readonly string[]>;
}
