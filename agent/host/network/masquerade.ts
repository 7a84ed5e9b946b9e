// Keeps the rules for masquerading in force. nft is started when the agent looks, never for a pod.
import { describeError, HoldfastError } from '../../../lib/errors.ts';
import { runCommand } from '../command.ts';
import { isInForce, type Ruleset, TABLE } from './plan-masquerade.ts';

const TIMEOUT_MS = 10_000;

async function listing(signal: AbortSignal): Promise<string> {
  try {
    return await runCommand('nft', ['-s', 'list', 'table', 'inet', TABLE], { timeoutMs: TIMEOUT_MS, signal });
  } catch (error) {
    if (error instanceof HoldfastError && /No such file or directory/.test(error.message)) return '';
    throw error;
  }
}

/**
 * Puts the rules in force where they are not.
 * @returns whether that was to be done
 * @throws HoldfastError PRECONDITION when nft is not installed and rules are wanted, HOST_FAILURE when it fails
 */
export async function ensureMasquerade(ruleset: Ruleset, signal: AbortSignal): Promise<boolean> {
  let present: string;
  try {
    present = await listing(signal);
  } catch (error) {
    if (!(error instanceof HoldfastError) || error.code !== 'PRECONDITION') throw error;
    // Without nft there cannot be rules of ours to take away.
    if (ruleset.rules === 0) return false;
    throw new HoldfastError(
      'PRECONDITION',
      `${describeError(error)}; masquerading needs it (Debian package nftables)`,
      {
        cause: error,
      },
    );
  }
  if (isInForce(ruleset, present)) return false;
  await runCommand('nft', ['-f', '-'], { timeoutMs: TIMEOUT_MS, signal, input: ruleset.text });
  return true;
}
