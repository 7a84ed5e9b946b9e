// What is noted on the host's end of a pair, where it outlives us: the addresses behind it. `ip link` shows it, too.
import { ipBytes, ipText } from './ip-bytes.ts';
import type { InterfaceAddress } from './messages/address.ts';

const PREFIX = 'holdfast';

export function aliasOf(addresses: readonly InterfaceAddress[]): string {
  return [PREFIX, ...addresses.map(({ bytes }) => ipText(bytes))].join(' ');
}

/** The addresses of {@link aliasOf}; none when the text is another's. */
export function addressesOfAlias(alias: string | undefined): readonly Buffer[] {
  const [prefix, ...texts] = (alias ?? '').split(' ');
  if (prefix !== PREFIX) return [];
  return texts.flatMap((text) => ipBytes(text) ?? []);
}
