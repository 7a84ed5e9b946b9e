// A directory as a tar stream, by the system's tar: it knows sparse files, extended attributes and device nodes. For
// commands of people, never on the CRI path.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { HoldfastError } from '../../lib/errors.ts';

/** What is kept of tar's complaints. */
const MESSAGE_LIMIT = 2_000;

export interface Archive {
  readonly chunks: AsyncIterable<Uint8Array<ArrayBuffer>>;
  /** What tar complained about without giving up (files that changed while they were read); complete after the last chunk. */
  readonly warnings: () => string;
}

/**
 * Packs a directory: names relative to it, numeric owners, all extended attributes (those of overlayfs mark deletions
 * and replaced directories).
 * @param root - `/`, or the directory below which the host's tree lies
 * @param path - absolute path on the host
 * @throws HoldfastError HOST_FAILURE from the chunks when tar cannot be run or gives up
 */
export function archiveDirectory(root: string, path: string, signal: AbortSignal): Archive {
  let complaints = '';
  async function* chunks(): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined> {
    signal.throwIfAborted();
    const args = ['--create', '--file=-', '--numeric-owner', '--xattrs', '--xattrs-include=*', '--directory'];
    const tar = spawn('tar', [...args, join(root, path), '.'], { stdio: ['ignore', 'pipe', 'pipe'], signal });
    const ended = once(tar, 'close');
    // Awaited below; until then a failure to start must not count as unhandled.
    ended.catch(() => undefined);
    tar.stderr.setEncoding('utf8').on('data', (text: string) => {
      complaints = (complaints + text).slice(0, MESSAGE_LIMIT);
    });
    try {
      for await (const chunk of tar.stdout) yield chunk as Uint8Array<ArrayBuffer>;
      const [code, killedBy] = await ended;
      // 1: some files changed while they were read; the archive is complete otherwise.
      if (code !== 0 && code !== 1) {
        throw new HoldfastError('HOST_FAILURE', `tar gave up (${code ?? killedBy}): ${complaints.trim()}`);
      }
    } catch (error) {
      signal.throwIfAborted();
      throw error instanceof HoldfastError
        ? error
        : new HoldfastError('HOST_FAILURE', 'tar cannot be run', { cause: error });
    } finally {
      tar.kill();
    }
  }
  return { chunks: chunks(), warnings: () => complaints.trim() };
}
