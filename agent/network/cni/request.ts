// The words between the CNI front (protocol, versions, error codes) and the feature behind it: what a runtime asks for
// and what it is told, free of CNI's JSON. CNI specification 1.1.0, sections 2 and 5.
import type { HoldfastError } from '../../../lib/errors.ts';
import type { LinkDataPlane } from '../../host/network/pod-links.ts';

/** One interface of one sandbox in one network. Never the path of the namespace: that may change or be gone. */
export interface AttachmentId {
  /** The network's name in the configuration. */
  readonly network: string;
  /** The sandbox's ID, as the runtime gave it. */
  readonly containerId: string;
  /** The interface in the sandbox. */
  readonly ifname: string;
}

/** Who the sandbox belongs to, as far as the runtime says: CNI_ARGS and the pod-annotations capability. */
export interface PodHint {
  readonly namespace?: string;
  readonly name?: string;
  readonly uid?: string;
  /** Absent when the runtime has not been told to hand them over. */
  readonly annotations?: Readonly<Record<string, string>>;
}

/** How the sandbox is joined to the host; `ipam`: another plugin does that, and only wants addresses. */
export type DataPlane = { readonly mode: 'ipam' } | LinkDataPlane;

/** The plugin's part of the network configuration, checked. */
export interface NetworkConfig {
  readonly name: string;
  readonly dataPlane: DataPlane;
  /** The pool that the agent's configuration has under this name; absent: its only or default one. */
  readonly pool?: string;
  readonly dns?: Readonly<Record<string, unknown>>;
  /** Absent: true. false: the sandbox has its default route from another network. */
  readonly defaultRoute?: boolean;
  /** Whether the link is asked for other users of an address before it is used; absent: when the bridge has an uplink. */
  readonly probe?: boolean;
}

export interface AddRequest {
  readonly command: 'ADD';
  readonly id: AttachmentId;
  /** The path of the sandbox's network namespace. */
  readonly netns: string;
  readonly config: NetworkConfig;
  readonly pod: PodHint;
}

export interface DelRequest {
  readonly command: 'DEL';
  readonly id: AttachmentId;
  /** Absent when the sandbox is gone. */
  readonly netns?: string;
  readonly config: NetworkConfig;
}

export interface CheckRequest {
  readonly command: 'CHECK';
  readonly id: AttachmentId;
  readonly netns: string;
  readonly config: NetworkConfig;
  /** The addresses with prefix lengths that the result of ADD listed for this interface. */
  readonly expected: readonly string[];
  /** Its hardware address in that result, which a later plugin of the chain may have changed. */
  readonly expectedMac?: string;
}

export interface GcRequest {
  readonly command: 'GC';
  readonly config: NetworkConfig;
  readonly valid: readonly Omit<AttachmentId, 'network'>[];
}

export interface StatusRequest {
  readonly command: 'STATUS';
  readonly config: NetworkConfig;
}

export interface ResultInterface {
  readonly name: string;
  readonly mac: string;
  readonly mtu?: number;
  /** The path of the namespace that it is in; absent: the host's. */
  readonly sandbox?: string;
}

export interface ResultAddress {
  /** With prefix length. */
  readonly address: string;
  readonly gateway?: string;
}

export interface ResultRoute {
  /** With prefix length. */
  readonly dst: string;
  readonly gw?: string;
}

/** What ADD did. */
export interface Attached {
  /** Host's side first; empty for an IPAM plugin. */
  readonly interfaces: readonly ResultInterface[];
  /** On the last of the interfaces. */
  readonly addresses: readonly ResultAddress[];
  readonly routes: readonly ResultRoute[];
  readonly dns?: Readonly<Record<string, unknown>>;
}

/** What answers a runtime; every method may throw a HoldfastError, which {@link CNI_CODES} turns into CNI's. */
export interface CniHandler {
  add(request: AddRequest, signal: AbortSignal): Promise<Attached>;
  /** Succeeds for what is not there (any more). */
  del(request: DelRequest, signal: AbortSignal): Promise<void>;
  check(request: CheckRequest, signal: AbortSignal): Promise<void>;
  gc(request: GcRequest, signal: AbortSignal): Promise<void>;
  /** @throws HoldfastError NO_ROOM or UNAVAILABLE when ADD would fail now */
  status(request: StatusRequest, signal: AbortSignal): Promise<void>;
}

/** CNI's error codes: 1–99 are the specification's, 100 and above ours. */
export const CNI_CODES: Readonly<Record<HoldfastError['code'], number>> = {
  INVALID_REQUEST: 7,
  INVALID_CONFIG: 7,
  NOT_GRANTED: 100,
  NO_ROOM: 50,
  NOT_FOUND: 3,
  PRECONDITION: 101,
  UNAVAILABLE: 11,
  DEADLINE: 11,
  HOST_FAILURE: 5,
  DAMAGED: 102,
  BUG: 103,
  UNSUPPORTED: 2,
};
