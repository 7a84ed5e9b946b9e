// A program that dies where HOLDFAST_FAILPOINT says. Arguments: install|uninstall, the root directory, the program's folder,
// and a name for a pool and for the network of new pods, where there are to be any.
import { installBelow } from './install-below.ts';

const [command, root = '', source = '', name] = process.argv.slice(2);
const network =
  name === undefined ? { pools: [] } : { pools: [name], cni: { network: { name, mode: 'bridge' } } as const };
await installBelow(command === 'install' ? command : 'uninstall', root, source, process.env, network);
