// What the clients of the read-only services may take up: who only reads must not be able to stop those who place
// containers. The socket of the shim has none of these limits; only root reaches it.
import type { ServerOptions } from '@grpc/grpc-js';

/** Of one listener for clients that only read. */
export interface ReadOnlyLimits {
  /** Connections at a time; each is a descriptor of the agent's. */
  readonly mostConnections: number;
  /** Calls that one connection may have under way. */
  readonly mostStreams: number;
  readonly mostRequestBytes: number;
  /** Milliseconds between pings: a peer that was stopped, or lost its power, closes nothing by itself. */
  readonly pingEveryMs: number;
  /** Milliseconds until a ping that nobody answered ends the connection. */
  readonly pingTimeoutMs: number;
}

/** Over TCP, where clients come and go with their certificates. */
export interface TcpLimits extends ReadOnlyLimits {
  /** Of all connections, those of one client's address; where TLS tells strangers from clients. */
  readonly mostPerAddress: number;
  /** Of all connections, handshakes that are under way. */
  readonly mostHalfOpen: number;
  /** Milliseconds that a handshake may take. */
  readonly handshakeMs: number;
  /** Milliseconds without a call after which a connection is closed. */
  readonly idleMs: number;
  /** Milliseconds after which a connection is closed: streams last for ever, and certificates must be shown again. */
  readonly ageMs: number;
  /** Milliseconds that calls have left then. */
  readonly ageGraceMs: number;
}

/** Of topology.sock, and of podresources.sock. */
export const UNIX_LIMITS: ReadOnlyLimits = {
  mostConnections: 256,
  mostStreams: 64,
  // A pod with a hundred containers is a plan of some 10 KiB, the largest honest request; and what is decoded holds up
  // everything else meanwhile, the shim's questions included.
  mostRequestBytes: 64 * 1024,
  pingEveryMs: 30_000,
  pingTimeoutMs: 20_000,
};

export const TCP_LIMITS: TcpLimits = {
  ...UNIX_LIMITS,
  mostConnections: 512,
  mostPerAddress: 256,
  mostHalfOpen: 64,
  handshakeMs: 10_000,
  idleMs: 300_000,
  ageMs: 3_600_000,
  ageGraceMs: 10_000,
};

/** Those of the limits that the gRPC server looks after; the others are its listener's. */
export function grpcLimits(limits: ReadOnlyLimits): ServerOptions {
  return {
    'grpc.max_receive_message_length': limits.mostRequestBytes,
    'grpc.max_concurrent_streams': limits.mostStreams,
    'grpc.keepalive_time_ms': limits.pingEveryMs,
    'grpc.keepalive_timeout_ms': limits.pingTimeoutMs,
  };
}

/** As {@link grpcLimits}, with those of connections from other hosts. */
export function grpcLimitsOverTcp(limits: TcpLimits): ServerOptions {
  return {
    ...grpcLimits(limits),
    'grpc.max_connection_idle_ms': limits.idleMs,
    'grpc.max_connection_age_ms': limits.ageMs,
    'grpc.max_connection_age_grace_ms': limits.ageGraceMs,
  };
}
