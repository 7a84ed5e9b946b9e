// What things of a test are cleaned up with: a test, or a program that measures and has no test around it.

export interface Teardown {
  teardown(work: () => Promise<void>): void;
}

/** Does the work, and then what it has registered, the last first and also after a failure. Says what is left behind. */
export async function withTeardown<Result>(work: (scope: Teardown) => Promise<Result>): Promise<Result> {
  const registered: (() => Promise<void>)[] = [];
  try {
    return await work({ teardown: (each) => void registered.push(each) });
  } finally {
    for (const each of registered.toReversed()) {
      await each().catch((error: unknown) => {
        process.stderr.write(`left behind: ${String(error)}\n`);
        process.exitCode = 1;
      });
    }
  }
}
