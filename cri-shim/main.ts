// The executable of the cri-shim.
import './small-heap.ts';
import { runShim } from './program.ts';

process.exitCode = await runShim(process.argv.slice(2));
