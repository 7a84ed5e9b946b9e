import t from 'tap';
import { Notices } from '../../../agent/reuse/notices.ts';

t.test('the latest, a bounded number, for a while', async (t) => {
  let now = 0;
  const notices = new Notices(() => now);
  for (let index = 0; index < 100; index += 1) {
    now = index;
    notices.add(`notice ${index}`);
  }
  const recent = notices.recent(1000);
  t.ok(recent.length <= 20);
  t.match(recent.at(-1), { at: 99, text: 'notice 99' });
  t.strictSame(
    notices.recent(1).map(({ text }) => text),
    ['notice 98', 'notice 99'],
  );
});
