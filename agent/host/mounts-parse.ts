// Overlay mounts in /proc/<pid>/mountinfo (proc(5)). Pure.

export interface OverlayMount {
  readonly mountPoint: string;
  /** As given when it was mounted; undefined for a read-only overlay. */
  readonly upperdir: string | undefined;
}

/** Takes back the octal escapes that the kernel puts in place of blanks, line ends, backslashes and, in options, commas. */
function unescapeOctal(text: string): string {
  if (!text.includes('\\')) return text;
  const bytes: number[] = [];
  const source = Buffer.from(text);
  for (let at = 0; at < source.length; at += 1) {
    const octal =
      source[at] === 0x5c ? /^[0-3][0-7]{2}$/.exec(source.toString('latin1', at + 1, at + 4))?.[0] : undefined;
    if (octal === undefined) {
      bytes.push(source[at] ?? 0);
    } else {
      bytes.push(Number.parseInt(octal, 8));
      at += 3;
    }
  }
  return Buffer.from(bytes).toString();
}

/**
 * The overlay mounts among all; lines that do not have mountinfo's form are passed over.
 * The kernel shows the upperdir's path of the time of mounting, whatever was renamed since.
 */
export function parseOverlayMounts(mountinfo: string): readonly OverlayMount[] {
  const mounts: OverlayMount[] = [];
  for (const line of mountinfo.split('\n')) {
    // The fields before the separator vary in number; blanks inside a field are escaped.
    const separator = line.indexOf(' - overlay ');
    if (separator < 0) continue;
    const mountPoint = line.slice(0, separator).split(' ')[4];
    const options = line.slice(separator + 1).split(' ')[3];
    if (mountPoint === undefined || options === undefined) continue;
    const upperdir = options.split(',').find((option) => option.startsWith('upperdir='));
    mounts.push({
      mountPoint: unescapeOctal(mountPoint),
      upperdir: upperdir === undefined ? undefined : unescapeOctal(upperdir.slice('upperdir='.length)),
    });
  }
  return mounts;
}
