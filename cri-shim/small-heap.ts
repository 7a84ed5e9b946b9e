// Keeps the shim small. Left alone, V8 lets a relay's short-lived streams pile up to twice the memory before it
// collects them. Measured over 10,000 calls: 68 MB resident instead of 105 MB, for about a tenth more CPU per call.
// Imported first, since what is loaded before it grows by V8's own rules.
import { setFlagsFromString } from 'node:v8';

setFlagsFromString('--optimize-for-size');
setFlagsFromString('--semi-space-growth-factor=1');
setFlagsFromString('--heap-growing-percent=60');
