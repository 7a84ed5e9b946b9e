// Asks the link whether anybody has the addresses that a sandbox is about to use. The sandbox's end asks under a hardware
// address of its own making: the final one is derived from the address, so that another holder would have the same, and the
// bridges on the way would not bring its answer here.
import { type Conflict, conflictIn } from './conflicts.ts';
import { arpProbe } from './frames/arp.ts';
import { conflictFilter } from './frames/conflict-filter.ts';
import { listenerReport } from './frames/multicast-listener.ts';
import { duplicateSolicitation } from './frames/neighbour-discovery.ts';
import { setUpHostEnd } from './host-end.ts';
import type { HostNetwork } from './host-network.ts';
import { ipText } from './ip-bytes.ts';
import { aliasOf } from './link-alias.ts';
import { changeLink, macText } from './messages/link.ts';
import { openPacketSocket, type PacketSocket } from './packet-socket.ts';
import { pause } from './pause.ts';
import type { Pair } from './pod-end.ts';
import { AddressInUseError } from './pod-links.ts';
import { untilForwarding } from './port-state.ts';
import type { SandboxNetwork } from './sandbox-network.ts';
import { perform, refused } from './steps.ts';
import { applySettings, readSetting } from './sysctl.ts';
import type { Wanted } from './wanted.ts';

/** PROBE_NUM of RFC 5227; its one to two seconds between probes are for links of 1985. */
const PROBES = 3;
const LOOKS_PER_PROBE = 10;
const LOOK_MS = 10;
/** Whoever floods the link must not keep this thread. */
const MAX_FRAMES_PER_LOOK = 64;

function probesOf(addresses: readonly Buffer[], mac: Buffer): readonly Buffer[] {
  const ipv6 = addresses.filter(({ length }) => length === 16);
  return [
    ...(ipv6.length === 0 ? [] : [listenerReport(ipv6, mac)]),
    ...addresses.map((address) =>
      address.length === 4 ? arpProbe(address, mac) : duplicateSolicitation(address, mac),
    ),
  ];
}

function look(socket: PacketSocket, addresses: readonly Buffer[], mac: Buffer): Conflict | undefined {
  for (let count = 0; count < MAX_FRAMES_PER_LOOK; count += 1) {
    const frame = socket.receive();
    if (frame === undefined) return undefined;
    const conflict = conflictIn(frame, addresses, mac);
    if (conflict !== undefined) return conflict;
  }
  return undefined;
}

/** Three probes of each address, 100 ms apart, and 100 ms to listen after the last. */
async function listen(
  socket: PacketSocket,
  addresses: readonly Buffer[],
  mac: Buffer,
  signal: AbortSignal,
): Promise<Conflict | undefined> {
  const probes = probesOf(addresses, mac);
  for (let count = 0; count < PROBES; count += 1) {
    for (const probe of probes) {
      const errno = socket.send(probe);
      if (errno !== 0)
        throw refused('a conflict probe cannot be sent', { errno, explanation: undefined, messages: [] });
    }
    for (let looks = 0; looks < LOOKS_PER_PROBE; looks += 1) {
      await pause(LOOK_MS, signal);
      const conflict = look(socket, addresses, mac);
      if (conflict !== undefined) return conflict;
    }
  }
  return undefined;
}

async function ask(
  sandbox: SandboxNetwork,
  addresses: readonly Buffer[],
  { podIndex }: Pair,
  mac: Buffer,
  signal: AbortSignal,
): Promise<Conflict | undefined> {
  const socket = await openPacketSocket(sandbox.namespace, podIndex, conflictFilter(addresses));
  try {
    return await listen(socket, addresses, mac, signal);
  } finally {
    await socket.close();
  }
}

/**
 * Brings both ends up without any address, probes, and gives the sandbox's end its final hardware address.
 * @param joint - of the plan, in bridge mode
 * @param temporaryMac - that the sandbox's end was made with
 * @throws HoldfastError AddressInUseError; UNAVAILABLE when a port of the bridge forwards nothing; HOST_FAILURE; the reason of the
 *   signal
 */
export async function probeLink(
  host: HostNetwork,
  sandbox: SandboxNetwork,
  wanted: Wanted,
  pair: Pair,
  temporaryMac: Buffer,
  signal: AbortSignal,
): Promise<void> {
  const { ifname, joint, podAddresses } = wanted;
  if (joint.mode !== 'bridge') return;
  const switchedOff = `ipv6/conf/${ifname}/disable_ipv6`;
  const before = readSetting(sandbox.namespace, switchedOff);
  // Else the kernel would make a link-local address of the temporary hardware address, and keep it.
  await applySettings(sandbox.namespace, [{ path: switchedOff, value: '1', mayBeGone: true }]);
  const podFailure = `${ifname} of the sandbox cannot be set up`;
  await perform(sandbox.socket, [{ request: changeLink(pair.podIndex, { isUp: true }), failure: podFailure }], signal);
  const alias = aliasOf(host.owner, podAddresses);
  await setUpHostEnd(host, wanted, pair.host, { alias, routes: [] }, signal);
  await untilForwarding(
    host.socket,
    joint.uplink === undefined ? [pair.host.name] : [pair.host.name, joint.uplink],
    signal,
  );

  const addresses = podAddresses.map(({ bytes }) => bytes);
  const conflict = await ask(sandbox, addresses, pair, temporaryMac, signal);
  if (conflict !== undefined) {
    const mac = macText(conflict.mac);
    throw new AddressInUseError(ipText(conflict.address), mac, `on the link of the bridge ${joint.bridge}`);
  }
  await perform(
    sandbox.socket,
    [{ request: changeLink(pair.podIndex, { mac: wanted.mac }), failure: podFailure }],
    signal,
  );
  if (before === '0') {
    await applySettings(sandbox.namespace, [{ path: switchedOff, value: '0', mayBeGone: true }]);
  }
}
