// The versions of CNI that are spoken.

/** In ascending order. */
export const SUPPORTED_VERSIONS = ['0.4.0', '1.0.0', '1.1.0'] as const;

export type CniVersion = (typeof SUPPORTED_VERSIONS)[number];

/** What an answer says when the request did not say legibly which version it is in. */
export const NEWEST_VERSION: CniVersion = '1.1.0';

const FIRST_WITH: Readonly<Record<string, CniVersion>> = { GC: '1.1.0', STATUS: '1.1.0' };

export function isSupported(version: unknown): version is CniVersion {
  return SUPPORTED_VERSIONS.some((supported) => supported === version);
}

/** The version that brought the command; the other ones are in all that are spoken. */
export function firstVersionWith(command: string): CniVersion {
  return FIRST_WITH[command] ?? SUPPORTED_VERSIONS[0];
}

/** Whether the version is at least the other. */
export function isAtLeast(version: CniVersion, other: CniVersion): boolean {
  return SUPPORTED_VERSIONS.indexOf(version) >= SUPPORTED_VERSIONS.indexOf(other);
}

/**
 * The version for an answer: that of the request as far as it is one, also when it is not spoken, for the answer says so.
 * The executables go by the same rule when they answer without the agent.
 */
export function versionForAnswer(asked: unknown): string {
  return typeof asked === 'string' && /^\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(asked) ? asked : NEWEST_VERSION;
}
