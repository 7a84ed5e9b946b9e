// Real network namespaces for tests: one plays the host, others the sandboxes. All of them are new, so that nothing of this
// machine's network is touched.
import { execFile, execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import { pollUntil } from '../../agent/cli/quickstart/poll.ts';
import type { Teardown } from './teardown.ts';

const run = promisify(execFile);
const REACH_TIMEOUT_MS = 20_000;

function whyNotHere(programs: readonly (readonly [string, string])[]): string | false {
  if (process.getuid?.() !== 0) return 'network namespaces can be made by root only';
  for (const [program, argument] of programs) {
    try {
      execFileSync(program, [argument], { stdio: 'ignore' });
    } catch {
      return `${program} is not installed`;
    }
  }
  return false;
}

const PROGRAMS = [
  ['ip', '-V'],
  ['busybox', 'true'],
] as const;

/** Why tests with namespaces cannot run here; false: they can. For `{ skip }`. */
export const NO_NETWORK_NAMESPACES: string | false = whyNotHere(PROGRAMS);

/** The same of tests that look at rules of nftables, too. */
export const NO_NFT: string | false = whyNotHere([...PROGRAMS, ['nft', '--version']]);

export interface TestNamespace {
  readonly name: string;
  readonly path: string;
  /** Runs a program inside; its standard output. */
  run(...command: readonly [string, ...string[]]): Promise<string>;
  /** `ip` inside, such as `ip('link set lo up')`. */
  ip(words: string): Promise<string>;
  /** Whether the address answers an echo request within a second. */
  canReach(address: string): Promise<boolean>;
  /** Waits until it does. */
  reaches(address: string): Promise<true>;
}

export async function makeNamespace(t: Teardown, label: string): Promise<TestNamespace> {
  const name = `hftest-${label}-${randomBytes(4).toString('hex')}`;
  await run('ip', ['netns', 'add', name]);
  t.teardown(async () => {
    await run('ip', ['netns', 'del', name]);
  });
  const inside = async (...command: readonly [string, ...string[]]): Promise<string> =>
    (await run('ip', ['netns', 'exec', name, ...command])).stdout;
  const canReach = async (address: string): Promise<boolean> => {
    try {
      await inside('busybox', address.includes(':') ? 'ping6' : 'ping', '-c', '1', '-W', '1', address);
      return true;
    } catch {
      return false;
    }
  };
  return {
    name,
    path: `/run/netns/${name}`,
    run: inside,
    ip: async (words) => (await run('ip', ['-n', name, ...words.split(' ')])).stdout,
    canReach,
    reaches: (address) =>
      pollUntil(`${address} to answer ${name}`, REACH_TIMEOUT_MS, async () => (await canReach(address)) || undefined),
  };
}
