// A log of events for people to ask later: one JSON text per line, in two files that take turns, so that its size has a
// limit. It is no record: what is lost of it at a power cut harms nobody.
import { appendFile, mkdir, readFile, rename, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { HoldfastError, isErrno } from '../../lib/errors.ts';
import { KeyedMutex } from '../../lib/keyed-mutex.ts';

/** Bytes after which the file becomes the former one. */
const FULL_AT = 4 * 1024 * 1024;
/** Events that wait for the disk; those behind them are dropped. */
const MOST_WAITING = 10_000;

export interface EventLogOptions {
  readonly path: string;
  readonly onProblem: (error: HoldfastError) => void;
}

export class EventLog {
  readonly #options: EventLogOptions;
  readonly #lock = new KeyedMutex();
  #waiting: string[] = [];
  #size: number | undefined;

  constructor(options: EventLogOptions) {
    this.#options = options;
  }

  /** Written soon; nobody waits for it. */
  append(event: Readonly<Record<string, unknown>>): void {
    if (this.#waiting.length >= MOST_WAITING) return;
    this.#waiting.push(`${JSON.stringify(event)}\n`);
    if (this.#waiting.length === 1) void this.flush();
  }

  /** Resolves when all that was appended is written, or could not be. */
  async flush(): Promise<void> {
    await this.#lock.run('', async () => {
      const lines = this.#waiting;
      this.#waiting = [];
      if (lines.length === 0) return;
      const { path, onProblem } = this.#options;
      try {
        await this.#write(lines.join(''));
      } catch (cause) {
        // Whatever is there now is looked at anew: somebody may have removed the directory.
        this.#size = undefined;
        onProblem(new HoldfastError('HOST_FAILURE', `${path} cannot be written`, { cause }));
      }
    });
  }

  async #write(text: string): Promise<void> {
    const { path } = this.#options;
    const isFirst = this.#size === undefined;
    this.#size ??= await sizeOf(path);
    if (this.#size > FULL_AT) {
      await rename(path, `${path}.former`);
      this.#size = 0;
    }
    if (this.#size === 0) await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    // What was written last before a power cut or on a full disk may have no end: its line must not take another with it.
    const lines = isFirst && this.#size > 0 ? `\n${text}` : text;
    await appendFile(path, lines, { mode: 0o600 });
    this.#size += Buffer.byteLength(lines);
  }

  /**
   * The newest events, the newest last; lines that cannot be read are left out.
   * @throws HoldfastError HOST_FAILURE
   */
  async read(limit: number): Promise<readonly unknown[]> {
    if (limit < 1) return [];
    await this.flush();
    const { path } = this.#options;
    // No file becomes the former one in between.
    const texts = await this.#lock.run('', async () => [
      await readOrNothing(`${path}.former`),
      await readOrNothing(path),
    ]);
    const lines = texts.join('\n').split('\n').filter(Boolean).slice(-limit);
    return lines.flatMap((line) => {
      try {
        return [JSON.parse(line) as unknown];
      } catch {
        // The last line of before a power cut.
        return [];
      }
    });
  }
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return 0;
    throw error;
  }
}

async function readOrNothing(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    if (isErrno(cause, 'ENOENT')) return '';
    throw new HoldfastError('HOST_FAILURE', `${path} cannot be read`, { cause });
  }
}
