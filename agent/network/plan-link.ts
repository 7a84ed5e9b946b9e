// The interfaces and routes that a sandbox's addresses come to, and what the runtime is told about them. Pure.
import { createHash } from 'node:crypto';
import type { LinkAddress, LinkDataPlane, LinkPlan, LinkRoute } from '../host/network/pod-links.ts';
import { type Address, parseAddress } from '../model/address.ts';
import type { Grant } from './acquire.ts';
import type { Attached, AttachmentId, DataPlane, NetworkConfig, ResultRoute } from './cni/request.ts';

/** Of all host ends. */
export const HOST_PREFIX = 'hf';

const HOST_NAME = new RegExp(`^${HOST_PREFIX}[0-9a-f]{${15 - HOST_PREFIX.length}}$`);

/** Whether {@link hostNameOf} can have made the name: what is called otherwise is somebody else's. */
export function isHostName(name: string): boolean {
  return HOST_NAME.test(name);
}

/** The name of the host's end: 15 bytes are an interface name's limit (IFNAMSIZ). */
export function hostNameOf({ network, containerId, ifname }: AttachmentId): string {
  const hash = createHash('sha256')
    .update(JSON.stringify([network, containerId, ifname]))
    .digest('hex');
  return `${HOST_PREFIX}${hash.slice(0, 15 - HOST_PREFIX.length)}`;
}

/** Locally administered, and the same for the same address on every host. */
export function macOf(address: Address): string {
  const { family, value } = parseAddress(address);
  const tail =
    family === 4 ? value.toString(16).padStart(8, '0') : createHash('sha256').update(address).digest('hex').slice(0, 8);
  return `0a:58:${tail.replace(/(..)(?!$)/g, '$1:')}`;
}

const DEFAULT_ROUTE = { 4: '0.0.0.0/0', 6: '::/0' } as const;

/** What leads out of the sandbox. */
export interface Routing {
  readonly routes: readonly LinkRoute[];
  /** Whether the gateways are its default routes. */
  readonly defaultRoute: boolean;
}

/** In a network that the sandbox's default route is not in, the pool's own one does not count either. */
export function planRouting({ defaultRoute = true }: NetworkConfig, routes: readonly LinkRoute[]): Routing {
  const isDefault = ({ destination }: LinkRoute): boolean =>
    Object.values(DEFAULT_ROUTE).some((each) => each === destination);
  return { routes: defaultRoute ? routes : routes.filter((each) => !isDefault(each)), defaultRoute };
}

/** @param grants - at least one */
export function planLink(
  id: AttachmentId,
  dataPlane: LinkDataPlane,
  grants: readonly [Grant, ...Grant[]],
  { routes, defaultRoute }: Routing,
): LinkPlan {
  return {
    hostName: hostNameOf(id),
    ifname: id.ifname,
    mac: macOf(grants[0].address),
    dataPlane,
    addresses: grants.map(({ address, subnet: { subnet, gateway } }): LinkAddress => {
      return { address, family: subnet.family, prefixLength: subnet.prefixLength, gateway };
    }),
    routes,
    ...(defaultRoute ? {} : { defaultRoute: false }),
  };
}

/** The part of the answer that tells of addresses; in routed mode there is no subnet, and no gateway in it. */
export function describeGrants(
  mode: DataPlane['mode'],
  grants: readonly Grant[],
  { routes, defaultRoute }: Routing,
): Pick<Attached, 'addresses' | 'routes'> {
  const addresses = grants.map(({ address, subnet: { subnet, gateway } }) =>
    mode === 'routed'
      ? { address: `${address}/${subnet.family === 4 ? 32 : 128}` }
      : { address: `${address}/${subnet.prefixLength}`, ...(gateway === undefined ? {} : { gateway }) },
  );
  const given = new Set(routes.map(({ destination }) => destination));
  const defaults = grants.flatMap(({ subnet: { subnet, gateway } }): ResultRoute[] => {
    // A default route of the pool's takes the place of the gateway's; two of them no plugin could set up.
    if (!defaultRoute || given.has(DEFAULT_ROUTE[subnet.family])) return [];
    if (mode === 'routed') return [{ dst: DEFAULT_ROUTE[subnet.family] }];
    return gateway === undefined ? [] : [{ dst: DEFAULT_ROUTE[subnet.family], gw: gateway }];
  });
  const more = routes.map(({ destination, via }) => ({ dst: destination, ...(via === undefined ? {} : { gw: via }) }));
  return { addresses, routes: [...defaults, ...more] };
}
