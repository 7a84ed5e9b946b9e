// Reads manifest files that others write: bounded, and never waiting for a FIFO or a device.
import { constants } from 'node:fs';
import fs from 'node:fs/promises';
import { HoldfastError } from '../../lib/errors.ts';
import { MAX_MANIFEST_BYTES } from './pod-manifest.ts';

/** @throws HoldfastError INVALID_REQUEST for anything but a regular file of bearable size; system errors as they come */
export async function readManifestFile(file: string): Promise<string> {
  const handle = await fs.open(file, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const stat = await handle.stat();
    if (!stat.isFile()) throw new HoldfastError('INVALID_REQUEST', 'it is not a regular file');
    if (stat.size > MAX_MANIFEST_BYTES) {
      throw new HoldfastError('INVALID_REQUEST', `it is longer than ${MAX_MANIFEST_BYTES} bytes`);
    }
    const buffer = Buffer.alloc(stat.size + 1);
    let length = 0;
    for (;;) {
      const { bytesRead } = await handle.read(buffer, length, buffer.length - length);
      length += bytesRead;
      if (length > stat.size) throw new HoldfastError('INVALID_REQUEST', 'it grew while it was read');
      if (bytesRead === 0) return buffer.toString('utf8', 0, length);
    }
  } finally {
    await handle.close();
  }
}
