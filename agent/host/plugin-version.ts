// Asks an executable of CNI which versions it speaks: the one call that it answers without the agent.
import { z } from 'zod';
import { HoldfastError } from '../../lib/errors.ts';
import { runCommand } from './command.ts';

const TIMEOUT_MS = 20_000;

const answerSchema = z.object({ supportedVersions: z.array(z.string()).min(1) });

/**
 * @param path - of an executable that is known to be ours: it is started as root
 * @returns such as `['0.4.0', '1.0.0', '1.1.0']`
 * @throws HoldfastError HOST_FAILURE when it does not start, fails, or answers something else
 */
export async function askPluginVersions(path: string, signal: AbortSignal): Promise<readonly string[]> {
  const environment = { CNI_COMMAND: 'VERSION' };
  const input = '{"cniVersion":"1.0.0"}';
  let text: string;
  try {
    text = await runCommand(path, [], { timeoutMs: TIMEOUT_MS, signal, environment, input });
  } catch (cause) {
    if (signal.aborted) throw cause;
    throw new HoldfastError('HOST_FAILURE', `${path} does not start, or fails, when it is asked for its version`, {
      cause,
    });
  }
  try {
    return answerSchema.parse(JSON.parse(text)).supportedVersions;
  } catch (cause) {
    throw new HoldfastError('HOST_FAILURE', `${path} answers something else when it is asked for its version`, {
      cause,
    });
  }
}
