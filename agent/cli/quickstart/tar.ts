// Writes tar archives in memory: regular files, directories and symbolic links, as POSIX.1-1988 (ustar) has them.

const BLOCK = 512;

export type TarEntry =
  | { readonly type: 'file'; readonly path: string; readonly mode: number; readonly content: Uint8Array }
  | { readonly type: 'directory'; readonly path: string; readonly mode: number }
  | { readonly type: 'symlink'; readonly path: string; readonly target: string };

const TYPE_FLAGS = { file: '0', symlink: '2', directory: '5' } as const satisfies Record<TarEntry['type'], string>;

/** A number as tar has it: octal digits, filled up with zeros, ended by NUL. */
function octal(value: number, width: number): string {
  return `${value.toString(8).padStart(width - 1, '0')}\0`;
}

function header(entry: TarEntry): Buffer {
  const block = Buffer.alloc(BLOCK);
  const put = (offset: number, width: number, text: string): void => {
    if (Buffer.byteLength(text) > width)
      throw new RangeError(`"${text}" does not fit into ${width} bytes of a tar header`);
    block.write(text, offset);
  };
  put(0, 100, entry.path);
  put(100, 8, octal(entry.type === 'symlink' ? 0o777 : entry.mode, 8));
  put(108, 8, octal(0, 8)); // uid
  put(116, 8, octal(0, 8)); // gid
  put(124, 12, octal(entry.type === 'file' ? entry.content.byteLength : 0, 12));
  put(136, 12, octal(0, 12)); // mtime: the epoch, so that the same content has the same digest
  put(148, 8, ' '.repeat(8)); // the checksum counts its own field as blanks
  put(156, 1, TYPE_FLAGS[entry.type]);
  if (entry.type === 'symlink') put(157, 100, entry.target);
  put(257, 8, 'ustar\u000000');
  const checksum = block.reduce((sum, byte) => sum + byte, 0);
  put(148, 8, `${checksum.toString(8).padStart(6, '0')}\0 `);
  return block;
}

/**
 * An archive of the entries in their order, owned by root, dated to the epoch: the same entries give the same bytes.
 * @throws RangeError when a path or link target is longer than 100 bytes
 */
export function writeTar(entries: readonly TarEntry[]): Buffer {
  const parts: Uint8Array[] = [];
  for (const entry of entries) {
    parts.push(header(entry));
    if (entry.type !== 'file') continue;
    const padding = (BLOCK - (entry.content.byteLength % BLOCK)) % BLOCK;
    parts.push(entry.content, Buffer.alloc(padding));
  }
  parts.push(Buffer.alloc(2 * BLOCK));
  return Buffer.concat(parts);
}
