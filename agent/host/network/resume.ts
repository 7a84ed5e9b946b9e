// Brings a quiesced pair back: its host end joins the bridge again, or gets its routes again, and comes up.
//
// The sandbox's end needs nothing. When its peer goes down it loses its carrier, and then the kernel (tried on 6.18; see
// addrconf_notify, fib_sync_down_dev and neigh_carrier_down) keeps addresses, routes and permanent neighbours.
import { describeError, HoldfastError } from '../../../lib/errors.ts';
import { ensureBridge } from './bridge.ts';
import { routesOf } from './check.ts';
import { ensureForwarding } from './forwarding.ts';
import { commonSteps, setUpHostEnd } from './host-end.ts';
import type { HostNetwork } from './host-network.ts';
import { POD_ROUTE_TABLE } from './host-routes.ts';
import { ipText } from './ip-bytes.ts';
import { addressesOfAlias, aliasOf, ownerOfAlias } from './link-alias.ts';
import { changeLink, type LinkFacts } from './messages/link.ts';
import { findStale, forgetStale } from './moved.ts';
import { findPair, quiesceLink } from './remove.ts';
import { perform } from './steps.ts';
import type { Wanted } from './wanted.ts';

/** In bridge mode a pair speaks with what its sandbox has: what was made for other addresses must not come up for these. */
function checkAddresses({ name, alias }: LinkFacts, { podAddresses }: Wanted): void {
  if (ownerOfAlias(alias) === undefined) return;
  const noted = addressesOfAlias(alias).map(ipText);
  const planned = podAddresses.map(({ bytes }) => ipText(bytes));
  if (noted.length === planned.length && planned.every((address) => noted.includes(address))) return;
  throw new HoldfastError(
    'PRECONDITION',
    `${name} was made for the addresses ${noted.join(', ')} and cannot come back with ${planned.join(', ')}; remove it, and make the sandbox anew`,
  );
}

async function bringBack(
  host: HostNetwork,
  wanted: Wanted,
  end: LinkFacts,
  bridge: LinkFacts | undefined,
  signal: AbortSignal,
): Promise<void> {
  const { joint, families, podAddresses } = wanted;
  const stale = await findStale(host, wanted, bridge, signal);
  const failure = `${end.name} cannot be made a port of its bridge`;
  const join =
    bridge === undefined || end.master === bridge.index ? [] : [changeLink(end.index, { master: bridge.index })];
  await perform(
    host.socket,
    [...commonSteps(wanted, bridge), ...join.map((request) => ({ request, failure }))],
    signal,
  );
  // An interface that is down has no routes.
  const routes =
    joint.mode === 'routed' && end.isUp ? await routesOf(host.socket, end, POD_ROUTE_TABLE, families, signal) : [];
  const alias = ownerOfAlias(end.alias) === undefined ? aliasOf(host.owner, podAddresses) : undefined;
  // A port that has left its bridge has lost what was set for it.
  const joined = join.length === 0 ? end : { ...end, isHairpin: false };
  await setUpHostEnd(host, wanted, joined, { alias, routes }, signal);
  await forgetStale(host, stale, signal);
}

async function silenceAgain(host: HostNetwork, hostName: string, error: unknown): Promise<never> {
  try {
    // Also when the caller has given up.
    await quiesceLink(host, hostName, new AbortController().signal);
  } catch (second) {
    const message = `${describeError(error)}; and ${hostName}, which may be up by now, cannot be taken down again: ${describeError(second)}`;
    throw new HoldfastError('HOST_FAILURE', message, { cause: error });
  }
  throw error;
}

/**
 * See PodLinks.resume.
 * @throws HoldfastError NOT_FOUND, PRECONDITION, HOST_FAILURE; the reason of the signal
 */
export async function resumeLink(host: HostNetwork, wanted: Wanted, signal: AbortSignal): Promise<void> {
  const { hostName, joint } = wanted;
  const end = await findPair(host.socket, hostName, signal);
  if (end === undefined) {
    throw new HoldfastError('NOT_FOUND', `there is no pair of interfaces ${hostName} any more; make the sandbox anew`);
  }
  checkAddresses(end, wanted);
  await ensureForwarding(host.namespace, wanted.forwarded);
  const bridge = joint.mode === 'bridge' ? await ensureBridge(host, joint, wanted.mtu, signal) : undefined;
  try {
    await bringBack(host, wanted, end, bridge, signal);
  } catch (error) {
    // What spoke before goes on to speak.
    if (end.isUp) throw error;
    return await silenceAgain(host, hostName, error);
  }
}
