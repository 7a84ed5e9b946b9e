// The service manager of the host, through systemctl(1).
import { lstat } from 'node:fs/promises';
import { isErrno } from '../../lib/errors.ts';
import { runCommand } from './command.ts';

export interface UnitState {
  /** `active`, `activating`, `inactive`, `failed`, …; `inactive` for a unit that does not exist. */
  readonly active: string;
  /** 0 when there is none. */
  readonly mainPid: number;
  /** How often systemd has started it again by itself since it was last told to start it. */
  readonly restarts: number;
}

export interface Systemd {
  /** One call, such as `restart holdfast-agent.service`; resolves when systemd has done it. */
  call(args: readonly string[], signal: AbortSignal): Promise<void>;
  stateOf(unit: string, signal: AbortSignal): Promise<UnitState>;
}

/** An agent on a slow host may take minutes until it is ready (TimeoutStartSec). */
const CALL_TIMEOUT_MS = 10 * 60_000;
const QUESTION_TIMEOUT_MS = 60_000;

/** Whether systemd is the running service manager, as sd_booted(3) finds out. */
export async function isSystemdBooted(): Promise<boolean> {
  try {
    return (await lstat('/run/systemd/system')).isDirectory();
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return false;
    throw error;
  }
}

/** The values of `systemctl show`, by name; pure. */
export function parseUnitProperties(text: string): ReadonlyMap<string, string> {
  return new Map(
    text.split('\n').flatMap((line): readonly (readonly [string, string])[] => {
      const at = line.indexOf('=');
      return at < 1 ? [] : [[line.slice(0, at), line.slice(at + 1)]];
    }),
  );
}

/** @param path - where systemctl is looked for; default: the host's own directories */
export function openSystemd(path?: string): Systemd {
  const at = path === undefined ? {} : { path };
  return {
    call: async (args, signal) => {
      await runCommand('systemctl', args, { timeoutMs: CALL_TIMEOUT_MS, signal, ...at });
    },
    stateOf: async (unit, signal) => {
      const args = ['show', '--property=ActiveState,MainPID,NRestarts', '--', unit];
      const text = await runCommand('systemctl', args, { timeoutMs: QUESTION_TIMEOUT_MS, signal, ...at });
      const properties = parseUnitProperties(text);
      return {
        active: properties.get('ActiveState') ?? 'inactive',
        mainPid: Number(properties.get('MainPID') ?? 0),
        restarts: Number(properties.get('NRestarts') ?? 0),
      };
    },
  };
}
