// The agent's end of the keeper process.
import { type ChildProcess, fork } from 'node:child_process';
import fs from 'node:fs/promises';
import path from 'node:path';
import { HoldfastError } from '../../lib/errors.ts';
import type { KeeperMessage, WriteRequest } from './keeper-protocol.ts';
import { DATABASE_FILE, DATABASE_LOCK_FILE, type DatabaseContent, judgeContent, type StoredPair } from './lmdb-file.ts';
import { siblingModule } from './sibling-module.ts';
import type { StoreLock } from './store-lock.ts';

/** A keeper that does not answer for this long is killed; disks that take longer are as good as broken. */
const TIMEOUT_MS = 60_000;

/** Signals that say nothing about the file: someone ended the keeper. */
const FOREIGN_SIGNALS: readonly (NodeJS.Signals | null)[] = ['SIGKILL', 'SIGTERM', 'SIGINT', 'SIGHUP'];

interface Waiter {
  readonly resolve: () => void;
  readonly reject: (error: HoldfastError) => void;
  readonly timer: NodeJS.Timeout;
}

/** Why a keeper ended. */
interface KeeperEnd {
  readonly reason: string;
  /** Whether the file may be to blame. */
  readonly suspicious: boolean;
}

export class Keeper {
  readonly #child: ChildProcess;
  readonly #waiters: Waiter[] = [];
  readonly #pairs: StoredPair[] = [];
  readonly #ended: Promise<KeeperEnd>;
  #stderr = '';
  #end: KeeperEnd | undefined;
  #timedOut = false;
  #touchedFile = false;

  private constructor(file: string, lock: StoreLock) {
    this.#child = fork(siblingModule(import.meta.url, 'keeper-process'), [file], {
      // The lock's descriptor goes along: the directory stays locked until the keeper is gone too.
      stdio: ['ignore', 'ignore', 'pipe', 'ipc', lock.fd],
      // Loaders only: `-e` and its program would make the keeper run what the agent was started to run.
      execArgv: process.execArgv.filter((argument) => argument.startsWith('--import=')),
    });
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-2000);
    });
    this.#child.on('message', (message: KeeperMessage) => this.#receive(message));
    this.#ended = new Promise((resolve) => {
      this.#child.once('error', (error) => resolve({ reason: error.message, suspicious: false }));
      // Not 'close': it does not come after the channel was let go of.
      this.#child.once('exit', (code, signal) => {
        const how = this.#timedOut ? `no answer for ${TIMEOUT_MS / 1000} s` : (signal ?? `exit code ${code}`);
        const said = this.#stderr
          .trim()
          .split('\n')
          .findLast((line) => /error|assert/i.test(line));
        const suspicious = this.#touchedFile && (this.#timedOut || !FOREIGN_SIGNALS.includes(signal));
        resolve({ reason: said === undefined ? how : `${how}: ${said.trim().slice(0, 200)}`, suspicious });
      });
    });
    void this.#ended.then((end) => {
      this.#end = end;
      const error = new HoldfastError('HOST_FAILURE', `the process that keeps the state has ended (${end.reason})`);
      for (const waiter of this.#waiters.splice(0)) {
        clearTimeout(waiter.timer);
        waiter.reject(error);
      }
    });
  }

  /**
   * Starts a keeper on the database of a directory, and reads everything out.
   * @returns no keeper when the file is damaged in a way that ended it
   * @throws HoldfastError HOST_FAILURE when it could not be started or was ended by somebody: nothing is known then
   */
  static async start(
    directory: string,
    lock: StoreLock,
  ): Promise<{ readonly keeper?: Keeper; readonly content: DatabaseContent }> {
    const file = path.join(directory, DATABASE_FILE);
    // Left by the process before, damaged or not.
    await fs.rm(path.join(directory, DATABASE_LOCK_FILE), { force: true });
    const keeper = new Keeper(file, lock);
    try {
      await keeper.#answer();
    } catch (cause) {
      const end = await keeper.#ended;
      if (end.suspicious) return { content: { kind: 'damaged', reason: `reading it ended with ${end.reason}` } };
      throw new HoldfastError('HOST_FAILURE', `the state in ${directory} could not be read`, { cause });
    }
    return { keeper, content: judgeContent(keeper.#pairs.splice(0)) };
  }

  get hasEnded(): boolean {
    return this.#end !== undefined;
  }

  /**
   * All or nothing; durable when it resolves.
   * @throws HoldfastError HOST_FAILURE with what the disk said; when {@link hasEnded}, whether it was done is unknown
   */
  write(request: Omit<WriteRequest, 'kind'>): Promise<void> {
    const answer = this.#answer();
    // A failure to send means that the keeper has ended: its end settles the answer.
    this.#child.send({ kind: 'write', ...request } satisfies WriteRequest, () => undefined);
    return answer;
  }

  /** Lets the keeper finish and waits for its end. */
  async close(): Promise<void> {
    if (this.#child.connected) this.#child.disconnect();
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), TIMEOUT_MS);
    await this.#ended;
    clearTimeout(timer);
  }

  #answer(): Promise<void> {
    if (this.#end !== undefined) {
      return Promise.reject(new HoldfastError('HOST_FAILURE', 'the process that keeps the state has ended'));
    }
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#timedOut = true;
        this.#child.kill('SIGKILL');
      }, TIMEOUT_MS);
      this.#waiters.push({ resolve, reject, timer });
    });
  }

  #receive(message: KeeperMessage): void {
    if (message.kind === 'content') this.#pairs.push(...message.pairs);
    else if (message.kind === 'started') this.#touchedFile = true;
    else this.#settle(message);
  }

  #settle(message: Exclude<KeeperMessage, { readonly kind: 'content' | 'started' }>): void {
    if (message.kind === 'unreadable') this.#touchedFile = false;
    const waiter = this.#waiters.shift();
    clearTimeout(waiter?.timer);
    if (message.kind === 'refused' || message.kind === 'unreadable')
      waiter?.reject(new HoldfastError('HOST_FAILURE', message.reason));
    else waiter?.resolve();
  }
}
