// Settings below /proc/sys/net. Which namespace's they are is decided when a file is opened; so files are opened
// inside the namespace, and written outside of it on a worker thread, because some of them wait for the kernel's rtnl lock.
import { closeSync, existsSync, openSync, readdirSync, readFileSync, write } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { HoldfastError, isErrno } from '../../../lib/errors.ts';
import type { NetworkNamespace } from '../netlink/namespace.ts';

const ROOT = '/proc/sys/net';
const writeFile = promisify<number, string, unknown>(write);

export interface Setting {
  /** Below /proc/sys/net; names of interfaces in it have been checked. */
  readonly path: string;
  readonly value: string;
  /** That of an interface that may go at any time: it is passed over then. */
  readonly mayBeGone?: boolean;
}

interface OpenSetting extends Setting {
  readonly fd: number;
}

/** Whether the kernel has IPv6; it may be switched off at boot (ipv6.disable=1). */
export function hasIpv6(): boolean {
  return existsSync(join(ROOT, 'ipv6'));
}

function read(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8').trim();
}

/** Those whose value is another now, open for writing. To be called inside the namespace. */
function openDiffering(settings: readonly Setting[]): readonly OpenSetting[] {
  const opened: OpenSetting[] = [];
  try {
    for (const setting of settings) {
      if (setting.mayBeGone === true && !existsSync(join(ROOT, setting.path))) continue;
      if (read(setting.path) === setting.value) continue;
      opened.push({ ...setting, fd: openSync(join(ROOT, setting.path), 'w') });
    }
    return opened;
  } catch (error) {
    for (const { fd } of opened) closeSync(fd);
    throw error;
  }
}

/**
 * Gives the settings their values, in this order, where they have others.
 * @throws HoldfastError HOST_FAILURE when one is not there or cannot be written
 */
export async function applySettings(namespace: NetworkNamespace, settings: readonly Setting[]): Promise<void> {
  let opened: readonly OpenSetting[] = [];
  try {
    opened = namespace.run(() => openDiffering(settings));
    for (const { fd, value } of opened) await writeFile(fd, value);
  } catch (cause) {
    if (cause instanceof HoldfastError) throw cause;
    const names = settings.map(({ path, value }) => `${path} = ${value}`).join(', ');
    throw new HoldfastError('HOST_FAILURE', `the settings ${names} of ${namespace.path} cannot be applied`, { cause });
  } finally {
    for (const { fd } of opened) closeSync(fd);
  }
}

/**
 * The settings of one end. Routers are known already: what others on the link say about them must not redirect anybody's
 * packets, on an interface without an IPv6 address of ours neither. Where we give one, it has to work.
 */
export function ipv6Settings(ifname: string, hasAddress: boolean): readonly Setting[] {
  const enabled = { path: `ipv6/conf/${ifname}/disable_ipv6`, value: '0' };
  const deaf = { path: `ipv6/conf/${ifname}/accept_ra`, value: '0', mayBeGone: !hasAddress };
  return hasAddress ? [enabled, deaf] : [deaf];
}

/** undefined where there is no such setting. @throws HoldfastError HOST_FAILURE when it cannot be read */
export function readSetting(namespace: NetworkNamespace, path: string): string | undefined {
  try {
    return namespace.run(() => read(path));
  } catch (cause) {
    if (isErrno(cause, 'ENOENT')) return undefined;
    throw new HoldfastError('HOST_FAILURE', `the setting ${path} of ${namespace.path} cannot be read`, { cause });
  }
}

/** The interfaces that have settings of IPv6. */
export function ipv6Interfaces(namespace: NetworkNamespace): readonly string[] {
  const names = namespace.run(() => readdirSync(join(ROOT, 'ipv6/conf')));
  return names.filter((name) => name !== 'all' && name !== 'default');
}
