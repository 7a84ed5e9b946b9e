// Which commands are loaded for which command line.
import t from 'tap';
import { loadCommands } from '../../../agent/cli/commands.ts';

const namesFor = async (word?: string) => (await loadCommands(word, '1.2.3')).map((command) => command.name());

t.test('a command is loaded alone, under its own name', async (t) => {
  const names = await namesFor('--help');
  t.ok(names.includes('status'), 'help knows the commands');
  for (const name of names) t.same(await namesFor(name), [name]);
});

t.test('the version needs no command', async (t) => {
  t.same(await namesFor('--version'), []);
  t.same(await namesFor('-V'), []);
});

t.test('what is not a command is answered with all of them', async (t) => {
  const names = await namesFor('--help');
  for (const word of [undefined, '', 'help', 'stauts', '-h', '__proto__']) t.same(await namesFor(word), names);
});
