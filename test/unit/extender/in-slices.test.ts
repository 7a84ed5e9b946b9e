// What a list brings is handed on in order and completely, with time for others in between.
import { setImmediate as turn } from 'node:timers/promises';
import t from 'tap';
import { pollUntil } from '../../../agent/cli/quickstart/poll.ts';
import { InSlices } from '../../../extender/discovery/in-slices.ts';

function listening() {
  const heard: string[] = [];
  const slices = new InSlices<string>({
    onItem: (item) => void heard.push(item),
    onGone: (key) => void heard.push(`${key} gone`),
  });
  return { heard, slices };
}

t.test('single news are handed on at once', async (t) => {
  const { heard, slices } = listening();
  slices.onItem('a');
  slices.onGone('a');
  t.same(heard, ['a', 'a gone']);
  t.ok(slices.isIdle);
});

t.test('a long list is handed on in slices, and what comes meanwhile after it', async (t) => {
  const { heard, slices } = listening();
  const items = Array.from({ length: 5000 }, (_, index) => `${index}`);
  for (const item of items) slices.onItem(item);
  t.ok(heard.length < 1000, `${heard.length} in one go`);
  t.notOk(slices.isIdle);
  await turn();
  slices.onGone('7');
  t.ok(heard.length < 1000, 'others have their turn');
  await pollUntil('the rest', 60_000, async () => (slices.isIdle ? true : undefined));
  t.same(heard, [...items, '7 gone']);
  for (let index = 0; index < 1000; index += 1) {
    slices.onItem('later');
    if (index % 100 === 0) await turn();
  }
  await pollUntil('the rest', 60_000, async () => (slices.isIdle ? true : undefined));
  t.equal(heard.length, 6001);
});
