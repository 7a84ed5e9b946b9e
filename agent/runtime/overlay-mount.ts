// Where the writable layer of a snapshot lies, read from the mounts that the snapshotter answers. Pure.
import { isAbsolute, normalize } from 'node:path';

/** As in containerd's API. */
export interface SnapshotMount {
  readonly type: string;
  readonly options: readonly string[];
}

/**
 * The upperdir of an overlay mount.
 * @returns undefined when the snapshot is mounted in another way (a bind mount, another snapshotter), when overlayfs is
 * told to index its layers (a moved upperdir would then not be mounted again), or when the path is not a plain one
 */
export function upperdirOfMounts(mounts: readonly SnapshotMount[]): string | undefined {
  const [mount, ...others] = mounts;
  if (mount === undefined || others.length > 0 || mount.type !== 'overlay') return undefined;
  if (mount.options.includes('index=on') || mount.options.includes('nfs_export=on')) return undefined;
  const prefix = 'upperdir=';
  const path = mount.options.find((option) => option.startsWith(prefix))?.slice(prefix.length);
  if (path === undefined || !isAbsolute(path) || normalize(path) !== path) return undefined;
  return path;
}
