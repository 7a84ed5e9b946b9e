// Errors of a server that listens already: the kernel had no memory or no descriptor for a connection. They pass, and an
// error that nobody listens for would end the process.

/** Milliseconds between two warnings: while memory is short, every turn of the event loop has such an error. */
const WARNING_INTERVAL_MS = 60_000;

/**
 * For `server.on('error', …)` after listening, where there is no log to tell.
 * @param where - path or address of the server
 * @param warn - standard error, unless somebody else is to be told
 * @returns a listener that warns of the first error, and then at most once a minute
 */
export function acceptErrors(
  where: string,
  warn: (text: string) => void = (text) => process.emitWarning(text),
): (error: Error) => void {
  let quietUntil = Number.NEGATIVE_INFINITY;
  return (error) => {
    if (performance.now() < quietUntil) return;
    quietUntil = performance.now() + WARNING_INTERVAL_MS;
    warn(`${where}: a connection could not be accepted: ${error.message}`);
  };
}
