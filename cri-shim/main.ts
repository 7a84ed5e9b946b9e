// The executable of the cri-shim.
import { runShim } from './program.ts';

process.exitCode = await runShim(process.argv.slice(2));
