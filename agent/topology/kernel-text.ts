// From the texts of /sys and /proc to numbers and sets. Pure; whatever does not fit is an error that names the file.
import { HoldfastError } from '../../lib/errors.ts';
import type { HostText } from '../host/host-tree.ts';
import type { SetText } from '../host/sysfs.ts';
import { CpuSet } from '../model/cpu-set.ts';
import { type Bytes, bytes } from '../model/quantity.ts';

/** No kernel has 2^20 CPUs or nodes; the same bound as CpuSet's. */
const MAX_MASK_WORDS = (1 << 20) / 32;
const QUOTED_CHARACTERS = 60;

/** The error for a file that holds something else than it should. */
export function unexpected(file: HostText, wanted: string, cause?: unknown): HoldfastError {
  const text = file.text.trim();
  const quoted = JSON.stringify(text.length > QUOTED_CHARACTERS ? `${text.slice(0, QUOTED_CHARACTERS)}…` : text);
  return new HoldfastError('HOST_FAILURE', `${file.path} holds ${quoted}, not ${wanted}`, { cause });
}

/** @throws HoldfastError HOST_FAILURE unless it is an integer, negative ones included (`physical_package_id` may be -1) */
export function parseInteger(file: HostText): number {
  const text = file.text.trim();
  // sysfs prints some IDs unsigned: 4294967295 is the -1 of a kernel that does not know.
  const value = text === '4294967295' ? -1 : Number(text);
  if (!/^-?\d{1,10}$/.test(text) || !Number.isSafeInteger(value)) throw unexpected(file, 'a number');
  return value;
}

/** @throws HoldfastError HOST_FAILURE unless it is a number of 0 or more that a double holds exactly */
export function parseCount(file: HostText): number {
  const text = file.text.trim();
  const value = Number(text);
  if (!/^\d{1,16}$/.test(text) || !Number.isSafeInteger(value)) throw unexpected(file, 'a number of 0 or more');
  return value;
}

/** `0-3,8`. @throws HoldfastError HOST_FAILURE */
export function parseList(file: HostText): CpuSet {
  try {
    return CpuSet.parse(file.text);
  } catch (cause) {
    throw unexpected(file, 'a list such as 0-3,8', cause);
  }
}

/** `00000001,0000ffff`: words of 32 bits, the highest first. @throws HoldfastError HOST_FAILURE */
export function parseMask(file: HostText): CpuSet {
  const words = file.text.trim().split(',').reverse();
  if (words.length > MAX_MASK_WORDS) throw unexpected(file, 'a mask of CPUs');
  const numbers: number[] = [];
  for (const [position, word] of words.entries()) {
    if (!/^[0-9a-fA-F]{1,8}$/.test(word)) throw unexpected(file, 'a mask such as 00000001,0000ffff');
    const value = Number.parseInt(word, 16);
    for (let bit = 0; bit < 32; bit += 1) if ((value >>> bit) & 1) numbers.push(position * 32 + bit);
  }
  return CpuSet.from(numbers);
}

/** A set in whichever format the kernel gave it. @throws HoldfastError HOST_FAILURE */
export function parseSet(file: SetText): CpuSet {
  return file.format === 'list' ? parseList(file) : parseMask(file);
}

/**
 * `MemTotal` of /proc/meminfo, or of a node's meminfo, where `Node 3 ` stands before each line.
 * @throws HoldfastError HOST_FAILURE when it is not there
 */
export function parseMemTotal(file: HostText): Bytes {
  const match = /^(?:Node \d+ )?MemTotal:\s+(\d{1,13}) kB$/m.exec(file.text);
  if (match === null) throw unexpected(file, 'a line such as "MemTotal: 16384 kB"');
  return bytes(Number(match[1]) * 1024);
}

/** Distances in the order of the online nodes. @throws HoldfastError HOST_FAILURE */
export function parseDistances(file: HostText): readonly number[] {
  const words = file.text.trim().split(/\s+/);
  // ACPI's table has one byte for a distance.
  if (!words.every((word) => /^\d{1,3}$/.test(word) && Number(word) <= 255)) {
    throw unexpected(file, 'distances such as "10 21"');
  }
  return words.map(Number);
}

/** The page size in the name `hugepages-2048kB`. @throws HoldfastError HOST_FAILURE */
export function parsePageSize(path: string): Bytes {
  const match = /\/hugepages-(\d{1,12})kB$/.exec(path);
  if (match === null) throw new HoldfastError('HOST_FAILURE', `${path} does not name a page size`);
  return bytes(Number(match[1]) * 1024);
}
