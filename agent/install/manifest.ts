// What an installation has changed on the host, so that uninstalling puts back exactly what was there. Written before
// anything is changed, and again when all is done.
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { HoldfastError } from '../../lib/errors.ts';

/** Keys that a later version adds are passed over, so that the one before it can be gone back to. */
const content = z.object({ text: z.string(), mode: z.number().int().min(0).max(0o7777) });

const manifestSchema = z.object({
  apiVersion: z.literal('holdfast.dev/v1'),
  kind: z.literal('InstallManifest'),
  /** `done`: nothing is under way. */
  phase: z.enum(['installing', 'done', 'uninstalling']),
  /** Folder of the program in use. */
  program: z.string(),
  /** Folder of the one before, kept to go back to. */
  previous: z.string().optional(),
  /** Socket of the runtime behind the shim. */
  upstream: z.string(),
  /**
   * Files of ours by path: digests of what we wrote (of the version before too, while an upgrade is under way), and what
   * was there before us.
   */
  files: z.record(z.string(), z.object({ digests: z.array(z.string()), before: content.optional() })),
  /** Links of ours by path: where the one led that was there before us. */
  links: z.record(z.string(), z.string()).optional(),
  /** The group was made by us. */
  madeGroup: z.boolean(),
  /** The CNI plugin and the network of new pods. */
  cni: z
    .object({
      /** What the operator wants of the plugin. */
      choice: z.enum(['auto', 'launcher', 'node', 'none']),
      /** Where the plugin was put. */
      plugin: z.string().optional(),
      /** Where the network's file was put. */
      network: z.string().optional(),
    })
    .optional(),
  kubelet: z
    .object({
      /** Service of systemd that runs it. */
      unit: z.string(),
      /** The one file that points it at the shim. */
      file: z.string(),
      /** What it used before. */
      endpoint: z.string(),
    })
    .optional(),
});

/** What every version of it has. */
const headSchema = z.object({
  apiVersion: z.string().regex(/^holdfast\.dev\/v\w+$/),
  kind: z.literal('InstallManifest'),
});

export type Manifest = z.output<typeof manifestSchema>;

export const MANIFEST_HEAD = { apiVersion: 'holdfast.dev/v1', kind: 'InstallManifest' } as const;

export function digestText(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** Nobody has changed the file since we wrote it. */
export function isAsWritten(text: string, record: Manifest['files'][string] | undefined): boolean {
  return record?.digests.includes(digestText(text)) === true;
}

/** The manifest once all is done: the files of the version before are no longer ours. */
export function concluded(manifest: Manifest): Manifest {
  const files = Object.entries(manifest.files).map(([path, record]) => [
    path,
    { ...record, digests: record.digests.slice(0, 1) },
  ]);
  return { ...manifest, phase: 'done', files: Object.fromEntries(files) };
}

export function formatManifest(manifest: Manifest): string {
  return `${JSON.stringify(manifest, null, 2)}\n`;
}

/**
 * @param text - undefined when there is no such file
 * @throws HoldfastError UNSUPPORTED when a version wrote it that means other things by it, DAMAGED when none of ours did
 */
export function parseManifest(path: string, text: string | undefined): Manifest | undefined {
  if (text === undefined) return undefined;
  try {
    const read: unknown = JSON.parse(text);
    const { apiVersion } = headSchema.parse(read);
    if (apiVersion !== MANIFEST_HEAD.apiVersion) {
      const remedy = 'run install or uninstall of the version that wrote it';
      throw new HoldfastError(
        'UNSUPPORTED',
        `${path} has apiVersion ${apiVersion}, which is not of this version; ${remedy}`,
      );
    }
    return manifestSchema.parse(read);
  } catch (cause) {
    if (cause instanceof HoldfastError) throw cause;
    const remedy = 'move it away: install and uninstall then go by what they find on the host';
    throw new HoldfastError('DAMAGED', `${path} is not a manifest of holdfast install; ${remedy}`, { cause });
  }
}
