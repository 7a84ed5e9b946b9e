// The bridge that pods are ports of: made where it is missing, with the host's uplink as a port where that is asked for.
import { HoldfastError } from '../../../lib/errors.ts';
import type { HostNetwork } from './host-network.ts';
import { changeLink, createBridge, type LinkFacts } from './messages/link.ts';
import { randomMac } from './random-mac.ts';
import { ERRNO, findLinks, perform } from './steps.ts';
import { applySettings } from './sysctl.ts';
import type { Wanted } from './wanted.ts';

type BridgeJoint = Extract<Wanted['joint'], { mode: 'bridge' }>;

interface Found {
  readonly bridge: LinkFacts | undefined;
  readonly uplink: LinkFacts | undefined;
}

/** The bridge, if nothing is left to do about it. */
function readyBridge({ bridge, uplink }: Found, joint: BridgeJoint): LinkFacts | undefined {
  if (bridge?.kind !== 'bridge' || !bridge.isUp) return undefined;
  const isWhole = joint.uplink === undefined || (uplink?.isUp === true && uplink.master === bridge.index);
  return isWhole ? bridge : undefined;
}

async function find(host: HostNetwork, joint: BridgeJoint, signal: AbortSignal): Promise<Found> {
  const names = joint.uplink === undefined ? [joint.bridge] : [joint.bridge, joint.uplink];
  const [bridge, uplink] = await findLinks(host.socket, names, signal);
  return { bridge, uplink };
}

async function makeBridge(
  host: HostNetwork,
  joint: BridgeJoint,
  mtu: number | undefined,
  signal: AbortSignal,
): Promise<LinkFacts> {
  const { bridge: name, uplink } = joint;
  // A bridge has the lowest address of its ports, and another one whenever that port goes, unless it is given one: then the
  // neighbours' tables of all pods stay right.
  const mac = randomMac();
  // Another program may make it at the same time; then it is there, which is all that was wanted.
  const step = {
    request: createBridge(name, mac, mtu),
    failure: `the bridge ${name} cannot be made`,
    unless: [ERRNO.EEXIST],
  };
  await perform(host.socket, [step], signal);
  const { bridge } = await find(host, joint, signal);
  if (bridge === undefined) throw new HoldfastError('HOST_FAILURE', `the bridge ${name} went as soon as it was made`);
  if (uplink === undefined) {
    // Only pods are on it: what one of them says about routers is not for the host.
    await applySettings(host.namespace, [{ path: `ipv6/conf/${name}/accept_ra`, value: '0', mayBeGone: true }]);
  }
  return bridge;
}

async function prepare(
  host: HostNetwork,
  joint: BridgeJoint,
  mtu: number | undefined,
  signal: AbortSignal,
): Promise<LinkFacts> {
  const { bridge: name, uplink: uplinkName } = joint;
  const found = await find(host, joint, signal);
  const { uplink } = found;
  if (found.bridge !== undefined && found.bridge.kind !== 'bridge') {
    throw new HoldfastError('PRECONDITION', `${name} is an interface of this host, but not a bridge; name another one`);
  }
  if (uplinkName !== undefined && uplink === undefined) {
    throw new HoldfastError('PRECONDITION', `the uplink ${uplinkName} of the bridge ${name} is not on this host`);
  }
  if (uplink?.master !== undefined && uplink.master !== found.bridge?.index) {
    const message = `the uplink ${uplink.name} is a port of another interface than ${name}; take it off that one first`;
    throw new HoldfastError('PRECONDITION', message);
  }
  const bridge = found.bridge ?? (await makeBridge(host, joint, mtu, signal));
  await perform(
    host.socket,
    [
      { request: changeLink(bridge.index, { isUp: true }), failure: `the bridge ${name} cannot be brought up` },
      ...(uplink === undefined
        ? []
        : [
            {
              request: changeLink(uplink.index, { isUp: true, master: bridge.index }),
              failure: `${uplink.name} cannot be made a port of the bridge ${name}`,
            },
          ]),
    ],
    signal,
  );
  const ready = readyBridge(await find(host, joint, signal), joint);
  if (ready !== undefined) return ready;
  throw new HoldfastError('HOST_FAILURE', `the bridge ${name} was taken down or apart by another program`);
}

/**
 * The bridge, up and with its uplink; its addresses are not looked at. Any number of attachments may ask at once.
 * @param mtu - bytes, for a bridge that has to be made
 * @throws HoldfastError PRECONDITION when the name is another kind of interface's, or the uplink is missing or a port of
 *   another bridge; HOST_FAILURE
 */
export async function ensureBridge(
  host: HostNetwork,
  joint: BridgeJoint,
  mtu: number | undefined,
  signal: AbortSignal,
): Promise<LinkFacts> {
  const bridge =
    readyBridge(await find(host, joint, signal), joint) ??
    (await host.bridges.run(joint.bridge, () => prepare(host, joint, mtu, signal), signal));
  if (joint.gateways.some(({ family }) => family === 6)) {
    await applySettings(host.namespace, [{ path: `ipv6/conf/${joint.bridge}/disable_ipv6`, value: '0' }]);
  }
  return bridge;
}
