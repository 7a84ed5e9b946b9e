// The question before something is lost: only a yes goes on.
import { PassThrough } from 'node:stream';
import t from 'tap';
import { confirm } from '../../../agent/cli/confirm.ts';

/** What a person types at a terminal, and what comes of it. */
function typed(keys: string, { isTTY = true, signal = new AbortController().signal } = {}): Promise<void> {
  const input = Object.assign(new PassThrough(), { isTTY, setRawMode: () => input });
  const output = Object.assign(new PassThrough(), { isTTY, columns: 80 });
  const asked = confirm('Sure? ', { input, output, signal });
  input.write(keys);
  return asked;
}

const nothing = (why: RegExp) => ({
  code: 'PRECONDITION',
  message: new RegExp(`^nothing was changed: .*${why.source}`),
});

t.test('yes goes on, and nothing else', async (t) => {
  await typed('yes\r');
  await t.rejects(typed('y\r'), nothing(/was not yes/));
  await t.rejects(typed('', { isTTY: false }), nothing(/--yes/));
});

t.test('no answer is none', async (t) => {
  await t.rejects(typed('\x04'), nothing(/no answer/), '^D');
  await t.rejects(typed('\x03'), nothing(/no answer/), '^C');
  await t.rejects(typed('', { signal: AbortSignal.abort() }), nothing(/no answer/), 'a signal');
});
