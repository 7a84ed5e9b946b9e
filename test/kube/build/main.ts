// Fills the cache before the tests of this tier: `node --import=tsx test/kube/build/main.ts`.
import { kubernetesPrograms } from './kubernetes.ts';

process.stdout.write(`${await kubernetesPrograms()}\n`);
