// The files and links of an installation, as they are to be. Pure.
import { AGENT_UNIT, DEFAULT_UPSTREAM, LAYOUT, SHIM_SOCKET_UNIT, SHIM_UNIT, WANTS } from './layout.ts';
import type { WantedFile } from './plan-files.ts';

const UNITS = [AGENT_UNIT, SHIM_UNIT, SHIM_SOCKET_UNIT];
const SYSUSERS = 'holdfast.sysusers.conf';
/** Files of systemd/ that make an installation. */
export const UNIT_TEXTS: readonly string[] = [...UNITS, SYSUSERS];
const FILE_MODE = 0o644;

/** The unit for another runtime socket than containerd's usual one. */
export function renderUnit(text: string, upstream: string): string {
  return text.replaceAll(`--upstream ${DEFAULT_UPSTREAM}`, `--upstream ${upstream}`);
}

/** @param units - texts of systemd/ by file name */
export function wantedUnits(units: ReadonlyMap<string, string>, upstream: string): readonly WantedFile[] {
  return [
    ...UNITS.map((name) => ({
      path: `${LAYOUT.units}/${name}`,
      text: renderUnit(units.get(name) ?? '', upstream),
      mode: FILE_MODE,
    })),
    { path: LAYOUT.sysusers, text: units.get(SYSUSERS) ?? '', mode: FILE_MODE },
  ];
}

/** The configuration to begin with. It is the operator's from then on. */
export function firstConfig(upstream: string): WantedFile {
  const runtime = upstream === DEFAULT_UPSTREAM ? [] : ['runtime:', `  endpoint: ${upstream}`];
  const text = [
    '# Configuration of the Holdfast agent. Every key has a default, and without any nothing changes for pods that do not',
    '# ask for it: docs/configuration.md names them all, holdfast config show prints what is in force.',
    'apiVersion: holdfast.dev/v1',
    'kind: AgentConfig',
    ...runtime,
    '',
  ].join('\n');
  return { path: LAYOUT.config, text, mode: FILE_MODE };
}

/** Links of an installation: path → target. `current` is switched last of those that lead to the program. */
export function wantedLinks(program: string): Readonly<Record<string, string>> {
  return { ...WANTS, [LAYOUT.current]: program, [LAYOUT.command]: `${LAYOUT.current}/bin/holdfast` };
}
