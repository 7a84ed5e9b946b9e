// Jobs on a cron schedule: never two runs of one at a time, ended by a signal, errors told and not thrown.
import { createTask } from 'node-cron';

export interface FinishedRun {
  readonly job: string;
  readonly seconds: number;
  /** What the run threw. */
  readonly error?: unknown;
}

export interface JobOptions {
  readonly name: string;
  /** Five fields, or six with seconds first, in the host's time zone. */
  readonly cron: string;
  readonly run: (signal: AbortSignal) => Promise<void>;
  /** Ends the schedule and is handed to the runs. */
  readonly signal: AbortSignal;
  /** Counts and logs. Not told of a run that the signal ended. */
  readonly onFinished: (run: FinishedRun) => void;
}

export interface Job {
  /**
   * Runs the job once more, now or right after the run that is on its way; callers in between share that run.
   * Resolves when it has ended, whether well or not.
   */
  now(): Promise<void>;
  /** Resolves when the schedule has ended and nothing runs any more; for use after the signal. */
  stopped(): Promise<void>;
}

/** Starts a schedule. A time that comes while the job still runs is left out. */
export function startJob({ name, cron, run, signal, onFinished }: JobOptions): Job {
  let running: Promise<void> | undefined;
  let following: Promise<void> | undefined;

  const runOnce = async (): Promise<void> => {
    if (signal.aborted) return;
    const startedAt = performance.now();
    const seconds = (): number => (performance.now() - startedAt) / 1000;
    try {
      await run(signal);
      onFinished({ job: name, seconds: seconds() });
    } catch (error) {
      if (!signal.aborted) onFinished({ job: name, seconds: seconds(), error });
    }
  };
  const start = (): Promise<void> => {
    running = runOnce().finally(() => {
      running = undefined;
    });
    return running;
  };
  const task = createTask(cron, () => running ?? start(), { name, suppressMissedWarning: true, unref: true });
  const end = (): void => void task.destroy();
  if (signal.aborted) end();
  else {
    void task.start();
    signal.addEventListener('abort', end, { once: true });
  }

  return {
    now: () => {
      if (running === undefined) return start();
      following ??= running.then(() => {
        following = undefined;
        return running ?? start();
      });
      return following;
    },
    stopped: async () => {
      await (following ?? running);
    },
  };
}

/**
 * For what comes in bursts: the function that is returned runs `run` once, this many milliseconds after the first of the
 * calls in between. It does not keep the process alive.
 */
export function oncePerBurst(pauseMs: number, run: () => void): () => void {
  let waiting: NodeJS.Timeout | undefined;
  return () => {
    if (waiting !== undefined) return;
    waiting = setTimeout(() => {
      waiting = undefined;
      run();
    }, pauseMs).unref();
  };
}
