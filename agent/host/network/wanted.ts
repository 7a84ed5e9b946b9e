// What there is to be for one attachment, checked and in the kernel's terms. Pure: attaching makes exactly this, and checking
// looks for exactly this.
import { HoldfastError } from '../../../lib/errors.ts';
import { checkInterfaceName } from './interface-name.ts';
import { ADDRESS_BITS, type Family, familyOf, ipBytes, parseIpPrefix } from './ip-bytes.ts';
import type { InterfaceAddress } from './messages/address.ts';
import type { Route } from './messages/route.ts';
import type { LinkAddress, LinkDataPlane, LinkPlan } from './pod-links.ts';

export interface Wanted {
  readonly hostName: string;
  readonly ifname: string;
  readonly mac: Buffer;
  /** undefined: the bridge's, or the kernel's default. */
  readonly mtu: number | undefined;
  readonly families: readonly Family[];
  /** Those for which the host has to forward packets: the subnet has a way out. */
  readonly forwarded: readonly Family[];
  readonly podAddresses: readonly InterfaceAddress[];
  readonly podRoutes: readonly Route[];
  /** Whether the link is asked before the addresses are used. */
  readonly isProbed: boolean;
  /** Whether the addresses were on another host before. */
  readonly isMoved: boolean;
  readonly joint:
    | {
        readonly mode: 'bridge';
        readonly bridge: string;
        readonly uplink: string | undefined;
        readonly isHairpin: boolean;
        readonly gateways: readonly InterfaceAddress[];
      }
    | {
        readonly mode: 'routed';
        readonly gateways: readonly Buffer[];
        readonly hostRoutes: readonly Route[];
      };
}

/** The next hop of every pod in routed mode: the same on each host, so that a pod's routes do not depend on where it is. */
export const ROUTED_GATEWAYS: Readonly<Record<Family, Buffer>> = {
  4: Buffer.from([169, 254, 1, 1]),
  6: Buffer.from('fe800000000000000000000000000001', 'hex'),
};

/** They are kept on the host's end as its alias, which has 255 bytes. */
const MAX_ADDRESSES = 6;
const MAX_ROUTES = 32;
/** RFC 791 and RFC 8200; what veth takes at most. */
const MTU = { least: 68, leastForIpv6: 1280, most: 65_535 } as const;

function invalid(message: string): HoldfastError {
  return new HoldfastError('INVALID_REQUEST', message);
}

function macBytes(mac: string): Buffer {
  const bytes = /^[0-9a-f]{2}(?::[0-9a-f]{2}){5}$/i.test(mac) ? Buffer.from(mac.replaceAll(':', ''), 'hex') : undefined;
  // The lowest bit of the first byte marks groups.
  if (bytes === undefined || ((bytes[0] ?? 1) & 1) === 1 || bytes.every((byte) => byte === 0)) {
    throw invalid(`${JSON.stringify(mac)} is not the hardware address of one interface`);
  }
  return bytes;
}

function addressBytes(text: string, family: Family, what: string): Buffer {
  const bytes = ipBytes(text);
  if (bytes !== undefined && familyOf(bytes) === family) return bytes;
  throw invalid(`${what} ${JSON.stringify(text)} is not an IPv${family} address`);
}

function checkAddress({ address, family, prefixLength }: LinkAddress): InterfaceAddress {
  const bytes = addressBytes(address, family, 'the address');
  if (!Number.isInteger(prefixLength) || prefixLength < 1 || prefixLength > ADDRESS_BITS[family]) {
    throw invalid(`${address} cannot have a prefix of ${prefixLength} bits`);
  }
  return { family, bytes, prefixLength };
}

function checkMtu({ mtu }: LinkDataPlane, families: readonly Family[]): number | undefined {
  const least = families.includes(6) ? MTU.leastForIpv6 : MTU.least;
  if (mtu === undefined || (Number.isInteger(mtu) && mtu >= least && mtu <= MTU.most)) return mtu;
  throw invalid(
    `an MTU of ${mtu} is not possible: IPv${families.includes(6) ? 6 : 4} needs ${least} to ${MTU.most} bytes`,
  );
}

/** The routes that were asked for, and a default route by each gateway whose family was not given one. */
function podRoutes(
  families: readonly Family[],
  gateways: ReadonlyMap<Family, Buffer>,
  { dataPlane, routes: asked, defaultRoute = true }: LinkPlan,
): readonly Route[] {
  // In routed mode the only neighbour is the host, whatever subnet the gateway is of.
  const isOnLink = dataPlane.mode === 'routed';
  const routes = asked.map(({ destination, via }): Route => {
    const prefix = parseIpPrefix(destination);
    if (prefix === undefined) throw invalid(`${JSON.stringify(destination)} is not a destination such as 10.0.0.0/8`);
    const { family, bytes, length } = prefix;
    if (!families.includes(family))
      throw invalid(`there is no IPv${family} address to use the route ${destination} with`);
    const gateway = via === undefined ? gateways.get(family) : addressBytes(via, family, 'the next hop');
    if (gateway === undefined) throw invalid(`the route ${destination} has no next hop, and its subnet has no gateway`);
    return { family, destination: bytes, prefixLength: length, via: gateway, isOnLink };
  });
  const defaults = [...gateways].flatMap(([family, via]): readonly Route[] =>
    !defaultRoute || routes.some((route) => route.family === family && route.prefixLength === 0)
      ? []
      : [{ family, destination: Buffer.alloc(ADDRESS_BITS[family] / 8), prefixLength: 0, via, isOnLink }],
  );
  return [...defaults, ...routes];
}

/**
 * What a plan means.
 * @throws HoldfastError INVALID_REQUEST when something in it is not valid
 */
export function wantedOf(plan: LinkPlan): Wanted {
  const { dataPlane } = plan;
  if (plan.addresses.length === 0 || plan.addresses.length > MAX_ADDRESSES || plan.routes.length > MAX_ROUTES) {
    throw invalid(`an interface can have 1 to ${MAX_ADDRESSES} addresses and up to ${MAX_ROUTES} routes`);
  }
  if (plan.probe === true && dataPlane.mode === 'routed') {
    throw invalid('in routed mode there is no link that could be asked whether an address is in use');
  }
  const addresses = plan.addresses.map(checkAddress);
  const families = ([4, 6] as const).filter((family) => addresses.some((address) => address.family === family));
  const common = {
    hostName: checkInterfaceName(plan.hostName, "the host's end"),
    ifname: checkInterfaceName(plan.ifname, "the sandbox's interface"),
    mac: macBytes(plan.mac),
    mtu: checkMtu(dataPlane, families),
    families,
    isProbed: plan.probe === true,
    isMoved: plan.moved === true,
  };
  if (dataPlane.mode === 'routed') {
    const gateways = new Map(families.map((family) => [family, ROUTED_GATEWAYS[family]]));
    const whole = addresses.map((address) => ({ ...address, prefixLength: ADDRESS_BITS[address.family] }));
    return {
      ...common,
      forwarded: families,
      podAddresses: whole,
      podRoutes: podRoutes(families, gateways, plan),
      joint: {
        mode: 'routed',
        gateways: [...gateways.values()],
        hostRoutes: whole.map(({ family, bytes, prefixLength }) => ({
          family,
          destination: bytes,
          prefixLength,
          via: undefined,
        })),
      },
    };
  }
  const gateways = plan.addresses.flatMap(({ gateway, family, prefixLength }): readonly InterfaceAddress[] =>
    gateway === undefined ? [] : [{ family, bytes: addressBytes(gateway, family, 'the gateway'), prefixLength }],
  );
  const first = new Map(
    families.flatMap((family): readonly (readonly [Family, Buffer])[] => {
      const gateway = gateways.find((one) => one.family === family);
      return gateway === undefined ? [] : [[family, gateway.bytes]];
    }),
  );
  return {
    ...common,
    forwarded: [...first.keys()],
    podAddresses: addresses,
    podRoutes: podRoutes(families, first, plan),
    joint: {
      mode: 'bridge',
      bridge: checkInterfaceName(dataPlane.bridge, 'the bridge'),
      uplink: dataPlane.uplink === undefined ? undefined : checkInterfaceName(dataPlane.uplink, 'the uplink'),
      isHairpin: dataPlane.hairpin,
      gateways,
    },
  };
}
