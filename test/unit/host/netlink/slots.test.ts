import t from 'tap';
import { Slots } from '../../../../agent/host/netlink/slots.ts';

/** Work that ends when it is told to. */
function held(): { readonly work: () => Promise<string>; readonly end: () => void; readonly hasBegun: () => boolean } {
  let end = (): void => {};
  let hasBegun = false;
  const until = new Promise<string>((resolve) => {
    end = () => resolve('done');
  });
  return {
    work: () => {
      hasBegun = true;
      return until;
    },
    end: () => end(),
    hasBegun: () => hasBegun,
  };
}

t.test('so many at once and no more, the others in their turn', async (t) => {
  const slots = new Slots('things', 2, 10);
  const works = [held(), held(), held(), held()];
  const results = works.map(({ work }) => slots.run(work));
  t.strictSame(
    works.map(({ hasBegun }) => hasBegun()),
    [true, true, false, false],
  );
  works[1]?.end();
  await results[1];
  t.strictSame(
    works.map(({ hasBegun }) => hasBegun()),
    [true, true, true, false],
  );
  for (const { end } of works) end();
  t.strictSame(await Promise.all(results), ['done', 'done', 'done', 'done']);
});

t.test('a failure gives the slot back', async (t) => {
  const slots = new Slots('things', 1, 10);
  const failure = new Error('no');
  await t.rejects(
    slots.run(() => Promise.reject(failure)),
    failure,
  );
  t.equal(await slots.run(async () => 'next'), 'next');
});

t.test('who gives up does not keep the others waiting', async (t) => {
  const slots = new Slots('things', 1, 2);
  const first = held();
  const running = slots.run(first.work);
  const controller = new AbortController();
  const givenUp = slots.run(async () => 'never', controller.signal);
  const last = slots.run(async () => 'last');
  await t.rejects(
    slots.run(async () => 'too many'),
    { code: 'UNAVAILABLE', message: /2 wait already/ },
  );
  const reason = new Error('enough');
  controller.abort(reason);
  await t.rejects(givenUp, reason);
  await t.rejects(
    slots.run(async () => 'never', controller.signal),
    reason,
  );
  first.end();
  await running;
  t.equal(await last, 'last');
});
