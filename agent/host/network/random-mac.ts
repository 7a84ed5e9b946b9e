// Hardware addresses that nobody else has.
import { randomBytes } from 'node:crypto';

/** Six bytes: locally administered, of one interface. */
export function randomMac(): Buffer {
  const bytes = randomBytes(6);
  bytes.writeUInt8((bytes.readUInt8(0) & 0xfc) | 0x02, 0);
  return bytes;
}
