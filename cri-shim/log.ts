// JSON lines on standard output in pino's shape, without pino: the shim stays small. No line is written without a limit.

type Level = 'info' | 'warn' | 'error';

/** pino's numbers, so that one reader understands the logs of both programs. */
const LEVELS: Readonly<Record<Level, number>> = { info: 30, warn: 40, error: 50 };

type Fields = Readonly<Record<string, string | number | boolean>>;

export interface Log {
  info(event: string, message: string, fields?: Fields): void;
  warn(event: string, message: string, fields?: Fields): void;
  error(event: string, message: string, fields?: Fields): void;
}

export interface LogOptions {
  readonly write: (line: string) => void;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Lines of one event within each period; what is more is counted in the first line of the next period. */
  readonly linesPerPeriod: number;
  /** Milliseconds. */
  readonly periodMs: number;
}

/** @param options - where lines go and how many are allowed; the number of different events is the program's own */
export function createLog({ write, now, linesPerPeriod, periodMs }: LogOptions): Log {
  const budgets = new Map<string, { since: number; written: number; suppressed: number; total: number }>();
  const log = (level: Level, event: string, message: string, fields: Fields = {}): void => {
    const time = now();
    const budget = budgets.get(event) ?? { since: time, written: 0, suppressed: 0, total: 0 };
    budgets.set(event, budget);
    budget.total += 1;
    let suppressed = 0;
    if (time - budget.since >= periodMs) {
      suppressed = budget.suppressed;
      Object.assign(budget, { since: time, written: 0, suppressed: 0 });
    }
    if (budget.written >= linesPerPeriod) {
      budget.suppressed += 1;
      return;
    }
    budget.written += 1;
    const counts = { count: budget.total, ...(suppressed > 0 ? { suppressed } : {}) };
    const line = { level: LEVELS[level], time, name: 'cri-shim', event, ...fields, ...counts, msg: message };
    write(`${JSON.stringify(line)}\n`);
  };
  return {
    info: (event, message, fields) => log('info', event, message, fields),
    warn: (event, message, fields) => log('warn', event, message, fields),
    error: (event, message, fields) => log('error', event, message, fields),
  };
}

/** Bytes that may wait for a reader of standard output that does not read. */
const MAX_WAITING = 1024 * 1024;

/** Standard output as the target; a reader that is gone or does not read costs lines, never the program. */
export function createStdoutLog(): Log {
  process.stdout.on('error', () => {
    // Nobody is left to be told.
  });
  return createLog({
    write: (line) => {
      if (process.stdout.writableLength < MAX_WAITING) process.stdout.write(line);
    },
    now: Date.now,
    linesPerPeriod: 20,
    periodMs: 10_000,
  });
}
