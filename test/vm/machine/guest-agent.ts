// Commands inside a machine, through QEMU's guest agent: no network and no login is needed.
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { pollUntil } from '../../../agent/cli/quickstart/poll.ts';
import { HoldfastError } from '../../../lib/errors.ts';
import { type CommandSocket, openCommandSocket } from './command-socket.ts';

export interface CommandResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface GuestAgent {
  /** A shell command to its end, whatever its exit code. @throws HoldfastError DEADLINE, UNAVAILABLE when the machine is gone */
  readonly run: (command: string, timeoutMs: number) => Promise<CommandResult>;
  readonly close: () => void;
}

const CONNECT_TIMEOUT_MS = 30_000;
/** An agent that is not up yet answers nothing. */
const PING_TIMEOUT_MS = 2_000;
const LOOK_MS = 40;

const started = z.object({ pid: z.number() });
const encoded = z
  .string()
  .default('')
  .transform((text) => Buffer.from(text, 'base64').toString());
const ended = z.object({
  exited: z.boolean(),
  exitcode: z.number().optional(),
  signal: z.number().optional(),
  'out-data': encoded,
  'err-data': encoded,
});

async function runIn(agent: CommandSocket, command: string, timeoutMs: number): Promise<CommandResult> {
  const request = { path: '/bin/sh', arg: ['-c', command], 'capture-output': true };
  const { pid } = started.parse(await agent.execute('guest-exec', request));
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const status = ended.parse(await agent.execute('guest-exec-status', { pid }));
    if (status.exited) {
      // As a shell reports a signal.
      const exitCode = status.exitcode ?? 128 + (status.signal ?? 0);
      return { exitCode, stdout: status['out-data'], stderr: status['err-data'] };
    }
    if (Date.now() > deadline) {
      throw new HoldfastError('DEADLINE', `"${command}" has not ended after ${timeoutMs / 1000} s`);
    }
    await delay(LOOK_MS);
  }
}

/** Connects and waits until the agent in the machine answers. */
export async function openGuestAgent(path: string, timeoutMs: number, signal: AbortSignal): Promise<GuestAgent> {
  const agent = await openCommandSocket(path, CONNECT_TIMEOUT_MS);
  try {
    const answers = async (): Promise<true> => {
      await agent.execute('guest-ping', {}, PING_TIMEOUT_MS);
      return true;
    };
    await pollUntil('the agent in the machine to answer', timeoutMs, answers, signal);
  } catch (error) {
    agent.close();
    throw error;
  }
  return { run: (command, limit) => runIn(agent, command, limit), close: agent.close };
}
