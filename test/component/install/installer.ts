// A program that dies where HOLDFAST_FAILPOINT says. Arguments: install|uninstall, the root directory, the program's folder.
import { installBelow } from './install-below.ts';

const [command, root = '', source = ''] = process.argv.slice(2);
await installBelow(command === 'install' ? command : 'uninstall', root, source, process.env);
