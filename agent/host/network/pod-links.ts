// What is asked of the host's network: join a sandbox, take it off, look at it. Carried out over netlink, without a process
// per step. The types are here, and not with the network feature, because the host's code knows no features.
import { HoldfastError } from '../../../lib/errors.ts';

/** How the sandbox is joined to the host. */
export type LinkDataPlane =
  | {
      readonly mode: 'bridge';
      /** The bridge's name; it is made where it is missing. */
      readonly bridge: string;
      /** An interface of the host that is to be a port of the bridge. */
      readonly uplink?: string;
      readonly mtu?: number;
      readonly hairpin: boolean;
    }
  | { readonly mode: 'routed'; readonly mtu?: number };

export interface LinkAddress {
  /** Without prefix length, in its shortest form (RFC 5952). */
  readonly address: string;
  readonly family: 4 | 6;
  /** Of the subnet. In routed mode the interface gets the whole length (32 or 128) all the same. */
  readonly prefixLength: number;
  /** In bridge mode the bridge has it; undefined: the subnet has no way out. Routed mode has gateways of its own. */
  readonly gateway: string | undefined;
}

export interface LinkRoute {
  /** With prefix length. */
  readonly destination: string;
  /** undefined: the gateway of the family (the first one, where there are several). */
  readonly via: string | undefined;
}

/** Everything that is to be made for one attachment. */
export interface LinkPlan {
  /** Of the host's end; at most 15 characters, the same for the same attachment always. */
  readonly hostName: string;
  readonly ifname: string;
  /** Of the sandbox's end, derived from the address, so that neighbours' tables stay right when the pod moves. */
  readonly mac: string;
  readonly dataPlane: LinkDataPlane;
  readonly addresses: readonly LinkAddress[];
  readonly routes: readonly LinkRoute[];
  /** Absent: true. false: the sandbox has its default route by another interface. */
  readonly defaultRoute?: boolean;
  /**
   * Whether {@link PodLinks.attach} asks the link first if anybody has one of the addresses: 0.4 s, to be spent when an
   * address changes its holder or its host. In bridge mode only.
   */
  readonly probe?: boolean;
  /** Whether one of the addresses was on another host before, so that this one may still know where it was. */
  readonly moved?: boolean;
}

/** Another one on the link has an address that was to be attached, or is about to use it. */
export class AddressInUseError extends HoldfastError {
  /** In its shortest form (RFC 5952). */
  readonly address: string;
  /** Of the one who answered. */
  readonly mac: string;

  /** @param where - such as "on the bridge br0" */
  constructor(address: string, mac: string, where: string) {
    super(
      'PRECONDITION',
      `the address ${address} is in use ${where}: an interface with the hardware address ${mac} answered for it; find out whose it is, and exclude the address from its pool or take it off that interface`,
    );
    this.address = address;
    this.mac = mac;
  }
}

export interface Link {
  readonly hostName: string;
  readonly hostMac: string;
  readonly mac: string;
  readonly mtu: number;
}

/** The host's end of a pair. */
export interface HostEnd {
  readonly name: string;
  /** Not so from {@link PodLinks.quiesce} on: what is behind it cannot speak. */
  readonly isUp: boolean;
  /** Whether this agent made it, and not another one on the same host. */
  readonly isOwn: boolean;
  /** Behind it, as they were noted when it was made; empty for what no agent made. */
  readonly addresses: readonly string[];
}

/** One thing that is not as it should be, in a sentence. */
export type LinkProblem = string;

export interface PodLinks {
  /**
   * Makes the pair of interfaces, the addresses and the routes, or leaves nothing of it behind.
   * @param netns - path of the sandbox's network namespace
   * @throws HoldfastError INVALID_REQUEST when the plan is not valid, or the namespace is none or has an interface of that
   *   name; PRECONDITION when the host has one of the host's end's name, or when the bridge or its uplink cannot be used;
   *   AddressInUseError when it was to be probed and is another's; UNAVAILABLE when too many wait, or when the link cannot be
   *   probed because a port of the bridge forwards nothing; HOST_FAILURE when the kernel refuses
   */
  attach(netns: string, plan: LinkPlan, signal: AbortSignal): Promise<Link>;

  /** The addresses speak no more when it resolves: the host's end is down and off its bridge, its routes are gone. */
  quiesce(hostName: string, signal: AbortSignal): Promise<void>;

  /**
   * The reverse of {@link quiesce}: the pair's host end comes back, and the addresses speak again when it resolves. Nothing
   * changes where it is up and right. The sandbox's end is not touched: the kernel keeps its addresses, routes and permanent
   * neighbours while it has no carrier. Nothing is probed. What fails is taken back, so that the addresses stay silent.
   * @throws HoldfastError NOT_FOUND when the pair is gone; INVALID_REQUEST when the plan is not valid; PRECONDITION when the
   *   interface of that name is no pair, or is noted to have other addresses, or when the bridge or its uplink cannot be used;
   *   HOST_FAILURE when the kernel refuses, as when another interface has one of the addresses now
   */
  resume(plan: LinkPlan, signal: AbortSignal): Promise<void>;

  /**
   * Tells the neighbours on the link where the addresses are, three times within about two seconds (RFC 5227, section 2.3; RFC
   * 4861, section 7.2.6). For the background: it resolves after the third time, or as soon as the sandbox or its interface is
   * gone, down or another's. In routed mode there are no neighbours, and nothing happens.
   * @param netns - path of the sandbox's network namespace; nothing in it is kept open in between
   * @throws HoldfastError INVALID_REQUEST when the plan is not valid or the namespace is none; UNAVAILABLE when too many wait;
   *   HOST_FAILURE when the kernel refuses; the reason of the signal
   */
  announce(netns: string, plan: LinkPlan, signal: AbortSignal): Promise<void>;

  /** Removes the pair; nothing happens when it is not there. Costs the kernel tens of milliseconds. */
  remove(hostName: string, signal: AbortSignal): Promise<void>;

  /** What differs from the plan. */
  check(netns: string, plan: LinkPlan, signal: AbortSignal): Promise<readonly LinkProblem[]>;

  /** The host's ends whose names begin so, whoever's they are. */
  list(prefix: string, signal: AbortSignal): Promise<readonly HostEnd[]>;

  /** Closes what is open towards the kernel; the links stay. */
  close(): Promise<void>;
}
