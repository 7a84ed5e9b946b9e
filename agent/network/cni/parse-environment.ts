// CNI's parameters from the environment of the plugin: command, container, interface, namespace. CNI specification
// 1.1.0, section 2, "Parameters".
import { CNI_ERROR, CniError, quote } from './cni-error.ts';

/** Of CNI, without VERSION, which the executable answers by itself. */
export const COMMANDS = ['ADD', 'DEL', 'CHECK', 'GC', 'STATUS'] as const;

export type CniCommand = (typeof COMMANDS)[number];

/** Variables by name; an empty one is as good as none. */
export type Variables = ReadonlyMap<string, string>;

/** The longest container ID (bytes): a part of keys and file names, which have 255. */
export const MAX_CONTAINER_ID = 253;
/** IFNAMSIZ of linux/if.h without its closing NUL (bytes). */
const MAX_INTERFACE_NAME = 15;
/** PATH_MAX of linux/limits.h (bytes). */
const MAX_PATH = 4096;

/** What a byte that is no UTF-8 has become. */
const UNDECODABLE = '\uFFFD';

/**
 * A name in CNI's grammar: letters, digits, `_`, `.` and `-`, the first of them a letter or a digit. It needs no
 * escaping in paths and keys.
 */
export function isCniName(text: string): boolean {
  return text.length <= MAX_CONTAINER_ID && /^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(text);
}

/**
 * A name that an interface can have, as dev_valid_name() of the kernel decides. Stricter in two ways: `%` would make the
 * kernel choose a number in its place, and bytes beyond ASCII are some of them white space to the kernel.
 */
export function isInterfaceName(text: string): boolean {
  return text.length <= MAX_INTERFACE_NAME && /^[!-~]+$/.test(text) && !/[/:%]/.test(text) && !/^\.\.?$/.test(text);
}

function invalid(name: string, why: string): CniError {
  return new CniError(CNI_ERROR.INVALID_ENVIRONMENT, 'INVALID_REQUEST', `${name} ${why}`);
}

/** @throws CniError 4 when the variable is missing */
function required(variables: Variables, name: string, command: string): string {
  const value = variables.get(name);
  if (value === undefined || value === '') throw invalid(name, `is missing; the runtime must set it for ${command}`);
  return value;
}

export function findCommand(variables: Variables): CniCommand | undefined {
  const value = variables.get('CNI_COMMAND');
  return COMMANDS.find((known) => known === value);
}

/** @throws CniError 4 when it is missing or unknown */
export function parseCommand(variables: Variables): CniCommand {
  const value = required(variables, 'CNI_COMMAND', 'every call');
  const command = findCommand(variables);
  if (command === undefined) {
    throw invalid('CNI_COMMAND', `is ${quote(value)}; known here: ${COMMANDS.join(', ')}`);
  }
  return command;
}

/** @throws CniError 4 when it is missing or not in CNI's grammar */
export function parseContainerId(variables: Variables, command: string): string {
  const value = required(variables, 'CNI_CONTAINERID', command);
  if (isCniName(value)) return value;
  throw invalid(
    'CNI_CONTAINERID',
    `is ${quote(value)}; it must be at most ${MAX_CONTAINER_ID} letters, digits, "_", "." and "-", the first a letter or digit`,
  );
}

/** @throws CniError 4 when it is missing or no interface can have it */
export function parseInterfaceName(variables: Variables, command: string): string {
  const value = required(variables, 'CNI_IFNAME', command);
  if (isInterfaceName(value)) return value;
  throw invalid(
    'CNI_IFNAME',
    `is ${quote(value)}; it must be 1 to ${MAX_INTERFACE_NAME} printable ASCII characters without "/", ":" and "%"`,
  );
}

function isAbsolutePath(value: string): boolean {
  return value.startsWith('/') && Buffer.byteLength(value) < MAX_PATH && !value.includes(UNDECODABLE);
}

/** @throws CniError 4 when it is missing or no absolute path */
export function parseNetns(variables: Variables, command: string): string {
  const value = required(variables, 'CNI_NETNS', command);
  if (isAbsolutePath(value)) return value;
  throw invalid(
    'CNI_NETNS',
    `is ${quote(value)}; it must be an absolute path, in UTF-8, of less than ${MAX_PATH} bytes`,
  );
}

/** For DEL, which must succeed without it: what is no path of a namespace is none. */
export function findNetns(variables: Variables): string | undefined {
  const value = variables.get('CNI_NETNS') ?? '';
  return isAbsolutePath(value) ? value : undefined;
}
