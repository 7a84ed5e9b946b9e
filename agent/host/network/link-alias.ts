// What is noted on the host's end of a pair, where it outlives us: who made it, and the addresses behind it. `ip link` shows
// it, too.
import { ipBytes, ipText } from './ip-bytes.ts';
import type { InterfaceAddress } from './messages/address.ts';

const PREFIX = 'holdfast';

/** With the longest addresses there may be, the text has the 255 bytes that the kernel keeps (IFALIASZ). */
export const OWNER = /^[0-9a-f]{6}$/;

/** @param owner - as {@link OWNER} */
export function aliasOf(owner: string, addresses: readonly InterfaceAddress[]): string {
  return [PREFIX, owner, ...addresses.map(({ bytes }) => ipText(bytes))].join(' ');
}

/** Who made it; undefined when the text is another's. */
export function ownerOfAlias(alias: string | undefined): string | undefined {
  const [prefix, owner = ''] = (alias ?? '').split(' ');
  return prefix === PREFIX && OWNER.test(owner) ? owner : undefined;
}

/** The addresses of {@link aliasOf}; none when the text is another's. */
export function addressesOfAlias(alias: string | undefined): readonly Buffer[] {
  if (alias === undefined || ownerOfAlias(alias) === undefined) return [];
  return alias
    .split(' ')
    .slice(2)
    .flatMap((text) => ipBytes(text) ?? []);
}
