// A program that waits as `holdfast install` does, and says when it was told to end; it ends when its input does.
import { interruptSignal } from '../../../agent/cli/install-host.ts';

const signal = interruptSignal();
signal.addEventListener('abort', () => process.stdout.write(`${signal.reason.message}\n`));
process.stdin.resume();
process.stdout.write('waiting\n');
