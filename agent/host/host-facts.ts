// Facts about this machine for people (doctor, status): nothing here decides anything.
import si from 'systeminformation';
import { HoldfastError } from '../../lib/errors.ts';
import { type Bytes, bytes, formatBytes } from '../model/quantity.ts';

export interface HostFacts {
  /** `Debian GNU/Linux 12 (bookworm)` */
  readonly operatingSystem: string;
  /** `6.1.0-13-amd64` */
  readonly kernel: string;
  readonly architecture: string;
  readonly cpuModel: string;
  readonly memory: Bytes;
}

/** Rejects when the signal fires first; the library cannot be interrupted, but its programs end by themselves. */
function orAborted<Result>(work: Promise<Result>, signal: AbortSignal): Promise<Result> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}

/**
 * Asks the system; starts a few programs (lscpu, …), so never on the CRI path. What the system does not say is the
 * text `unknown`.
 * @throws HoldfastError HOST_FAILURE when the system cannot be asked; the signal's reason
 */
export async function readHostFacts(signal: AbortSignal): Promise<HostFacts> {
  const named = (...parts: readonly string[]): string => parts.filter((part) => part !== '').join(' ') || 'unknown';
  try {
    const [os, cpu, memory] = await orAborted(Promise.all([si.osInfo(), si.cpu(), si.mem()]), signal);
    return {
      operatingSystem: named(os.distro, os.release, os.codename === '' ? '' : `(${os.codename})`),
      kernel: named(os.kernel),
      architecture: named(os.arch),
      cpuModel: named(cpu.manufacturer, cpu.brand),
      memory: bytes(memory.total),
    };
  } catch (cause) {
    if (signal.aborted) throw signal.reason;
    throw new HoldfastError('HOST_FAILURE', 'the system does not say what it is', { cause });
  }
}

/** One line: `Debian GNU/Linux 12 (bookworm), Linux 6.1.0, Intel Xeon …, x64, 16 GiB`. */
export function describeHostFacts(facts: HostFacts): string {
  const { operatingSystem, kernel, cpuModel, architecture, memory } = facts;
  return `${operatingSystem}, Linux ${kernel}, ${cpuModel}, ${architecture}, ${formatBytes(memory)}`;
}
