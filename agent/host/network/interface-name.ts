// Names of interfaces that come from outside: they end up in messages to the kernel and in paths below /proc/sys.
import { HoldfastError } from '../../../lib/errors.ts';

const MAX_BYTES = 15;

/** Of folders beside those of interfaces below /proc/sys/net (sysctl_dev_name_is_allowed). */
const RESERVED = new Set(['.', '..', 'all', 'default']);

/** The kernel's own rule (dev_valid_name); besides, the colon is that of old aliases, and "%d" would be filled in. */
export function isInterfaceName(name: string): boolean {
  const bytes = Buffer.byteLength(name);
  return bytes > 0 && bytes <= MAX_BYTES && !RESERVED.has(name) && !/[/:%\s\0]/u.test(name);
}

/**
 * @param what - what the name is for, such as "the bridge"
 * @throws HoldfastError INVALID_REQUEST
 */
export function checkInterfaceName(name: string, what: string): string {
  if (isInterfaceName(name)) return name;
  throw new HoldfastError(
    'INVALID_REQUEST',
    `${JSON.stringify(name)} cannot be the name of ${what}: it has to have 1 to ${MAX_BYTES} bytes, without "/", ":", "%" and white space, and none that the kernel has taken, such as "all"`,
  );
}
