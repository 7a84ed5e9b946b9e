// The time since the host was booted, which also goes on while the host is suspended: for promises to other hosts, whose
// clocks do not stop when ours does. Node's own clocks (performance.now, timers) stand still meanwhile.
import { HoldfastError } from '../../lib/errors.ts';

/** Linux, `include/uapi/linux/time.h`. */
const CLOCK_BOOTTIME = 7;

/** Milliseconds since some moment in the past; never goes back, and is not touched by setting the time. */
export type Clock = () => number;

/**
 * The kernel's CLOCK_BOOTTIME (clock_gettime(2)). It counts while this process is stopped and while the host is suspended,
 * but not while a hypervisor has paused the whole machine: no clock inside does.
 * @throws HoldfastError HOST_FAILURE when the kernel has no such clock
 */
export async function openBootClock(): Promise<Clock> {
  const { default: koffi } = await import('koffi');
  const clockGettime = koffi.load(null).func('int clock_gettime(int clock, void *time)');
  // struct timespec on 64-bit Linux: seconds and nanoseconds.
  const time = new BigInt64Array(2);
  const clock: Clock = () => {
    if (Number(clockGettime(CLOCK_BOOTTIME, time)) !== 0) {
      throw new HoldfastError('HOST_FAILURE', 'the kernel does not tell the time since the boot (CLOCK_BOOTTIME)');
    }
    const [seconds = 0n, nanoseconds = 0n] = time;
    return Number(seconds) * 1000 + Number(nanoseconds) / 1e6;
  };
  clock();
  return clock;
}
