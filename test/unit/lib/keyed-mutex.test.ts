import t from 'tap';
import { KeyedMutex } from '../../../lib/keyed-mutex.ts';

/** A promise that is settled from outside. */
function gate(): { readonly opened: Promise<void>; readonly open: () => void } {
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

t.test('work under one key follows in order, whether it succeeds or fails', async (t) => {
  const mutex = new KeyedMutex();
  const order: string[] = [];
  const first = gate();
  const one = mutex.run('a', async () => {
    await first.opened;
    order.push('one');
    throw new Error('one failed');
  });
  const two = mutex.run('a', async () => order.push('two'));
  first.open();
  await t.rejects(one, { message: 'one failed' });
  await two;
  t.same(order, ['one', 'two']);
});

t.test('different keys do not wait for each other', async (t) => {
  const mutex = new KeyedMutex();
  const held = gate();
  const holding = mutex.run('a', () => held.opened);
  t.equal(await mutex.run('b', async () => 'done'), 'done');
  held.open();
  await holding;
});

t.test('waiting can be given up without breaking the order of the others', async (t) => {
  const mutex = new KeyedMutex();
  const held = gate();
  const holding = mutex.run('a', () => held.opened);
  const abort = new AbortController();
  let ran = false;
  const given = mutex.run(
    'a',
    async () => {
      ran = true;
    },
    abort.signal,
  );
  const third = mutex.run('a', async () => 'third');
  abort.abort(new Error('enough'));
  await t.rejects(given, { message: 'enough' }, 'at once, while the first still holds the lock');
  held.open();
  t.equal(await third, 'third');
  t.notOk(ran);
  await holding;
});
