// Joins one sandbox to the host: makes the pair of interfaces, gives the sandbox's end its addresses and routes, and brings
// the host's end up last, so that an address speaks only when everything is in place. What fails is taken back.
import { describeError, HoldfastError } from '../../../lib/errors.ts';
import { ensureBridge } from './bridge.ts';
import { ensureForwarding } from './forwarding.ts';
import { commonSteps, setUpHostEnd } from './host-end.ts';
import type { HostNetwork } from './host-network.ts';
import { aliasOf } from './link-alias.ts';
import { createVeth, getLink, type LinkFacts, macText } from './messages/link.ts';
import { findStale, forgetStale } from './moved.ts';
import { type Pair, setUpPodEnd } from './pod-end.ts';
import type { Link } from './pod-links.ts';
import { probeLink } from './probe.ts';
import { randomMac } from './random-mac.ts';
import { removeLink } from './remove.ts';
import { type SandboxNetwork, withSandbox } from './sandbox-network.ts';
import { ERRNO, expectDone, findLinks, linkOf, refused } from './steps.ts';
import { hasIpv6 } from './sysctl.ts';
import type { Wanted } from './wanted.ts';

async function checkFree(host: HostNetwork, { hostName }: Wanted, signal: AbortSignal): Promise<void> {
  const [there] = await findLinks(host.socket, [hostName], signal);
  if (there !== undefined) {
    const message = `the host has an interface ${hostName} already, left by an earlier attachment; it has to be removed first`;
    throw new HoldfastError('PRECONDITION', message);
  }
}

/**
 * @returns the refusal instead, when the kernel has made no pair: then there is nothing to take back
 */
async function makePair(
  host: HostNetwork,
  sandbox: SandboxNetwork,
  wanted: Wanted,
  { bridge, mac }: { readonly bridge: LinkFacts | undefined; readonly mac: Buffer },
  signal: AbortSignal,
): Promise<Pair | HoldfastError> {
  const { hostName, ifname } = wanted;
  const create = createVeth({
    name: hostName,
    mtu: wanted.mtu ?? bridge?.mtu,
    master: bridge?.index,
    peer: { name: ifname, mac, namespaceFd: sandbox.namespace.fd },
  });
  // In one exchange: what is common is there already but for the first time.
  const common = commonSteps(wanted, bridge);
  const requests = [create, getLink(hostName), ...common.map(({ request }) => request)];
  const [created, shown, ...others] = await host.socket.ask(requests, signal);
  const pair = linkOf(hostName, shown);
  if (created?.errno === ERRNO.EEXIST && pair === undefined) {
    return new HoldfastError('INVALID_REQUEST', `${sandbox.namespace.path} has an interface ${ifname} already`);
  }
  if (created !== undefined && created.errno !== 0) {
    return refused(`the pair of ${hostName} and ${ifname} in ${sandbox.namespace.path} cannot be made`, created);
  }
  expectDone(common, others);
  if (pair?.peerIndex === undefined) {
    throw new HoldfastError('HOST_FAILURE', `the pair of ${hostName} went as soon as it was made`);
  }
  return { host: pair, podIndex: pair.peerIndex };
}

async function takeBack(host: HostNetwork, hostName: string, error: unknown): Promise<never> {
  try {
    // Also when the caller has given up: nothing of it may stay. Not behind the removals that wait for the slow socket.
    await removeLink(host.socket, hostName, new AbortController().signal);
  } catch (second) {
    const message = `${describeError(error)}; and ${hostName}, which was made before that, cannot be removed: ${describeError(second)}`;
    throw new HoldfastError('HOST_FAILURE', message, { cause: error });
  }
  throw error;
}

/** With a probe the host's end comes up first, because what is down cannot be asked. */
async function setUp(
  host: HostNetwork,
  sandbox: SandboxNetwork,
  wanted: Wanted,
  pair: Pair,
  temporaryMac: Buffer | undefined,
  signal: AbortSignal,
): Promise<void> {
  if (temporaryMac !== undefined) {
    await probeLink(host, sandbox, wanted, pair, temporaryMac, signal);
    await setUpPodEnd(sandbox, wanted, pair, signal);
    return;
  }
  await setUpPodEnd(sandbox, wanted, pair, signal);
  const alias = aliasOf(host.owner, wanted.podAddresses);
  await setUpHostEnd(host, wanted, pair.host, { alias, routes: [] }, signal);
}

/**
 * See PodLinks.attach.
 * @throws HoldfastError INVALID_REQUEST, PRECONDITION, AddressInUseError, UNAVAILABLE, HOST_FAILURE; the reason of the signal
 */
export async function attachLink(host: HostNetwork, netns: string, wanted: Wanted, signal: AbortSignal): Promise<Link> {
  const { hostName, joint } = wanted;
  if (wanted.families.includes(6) && !hasIpv6()) {
    throw new HoldfastError(
      'PRECONDITION',
      'an IPv6 address is wanted, but IPv6 is switched off in the kernel of this host',
    );
  }
  return await withSandbox(netns, host.namespace, async (sandbox) => {
    await checkFree(host, wanted, signal);
    await ensureForwarding(host.namespace, wanted.forwarded);
    const bridge = joint.mode === 'bridge' ? await ensureBridge(host, joint, wanted.mtu, signal) : undefined;
    const stale = await findStale(host, wanted, bridge, signal);
    const temporaryMac = wanted.isProbed ? randomMac() : undefined;
    let pair: Pair | HoldfastError;
    try {
      pair = await makePair(host, sandbox, wanted, { bridge, mac: temporaryMac ?? wanted.mac }, signal);
      if (!(pair instanceof HoldfastError)) {
        await setUp(host, sandbox, wanted, pair, temporaryMac, signal);
        await forgetStale(host, stale, signal);
      }
    } catch (error) {
      return await takeBack(host, hostName, error);
    }
    if (pair instanceof HoldfastError) throw pair;
    return { hostName, hostMac: pair.host.mac, mac: macText(wanted.mac), mtu: pair.host.mtu };
  });
}
