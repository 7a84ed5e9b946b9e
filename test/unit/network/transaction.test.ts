// Changes of one host follow each other, also when the store is away: then they do not each wait for its answer.
import t from 'tap';
import type { LeaseStore } from '../../../agent/network/lease-store.ts';
import { addressKey } from '../../../agent/network/records.ts';
import { inTurn, type Transaction } from '../../../agent/network/transaction.ts';
import { HoldfastError } from '../../../lib/errors.ts';
import { KeyedMutex } from '../../../lib/keyed-mutex.ts';
import { memoryLeaseStore } from '../../support/memory-lease-store.ts';

const SIGNAL = new AbortController().signal;
const look = (transaction: Transaction) => transaction.load([addressKey('pool', '192.0.2.1' as never)], SIGNAL);
const change = async (transaction: Transaction): Promise<void> =>
  transaction.delete(addressKey('pool', '192.0.2.1' as never));

function start() {
  const there = memoryLeaseStore();
  const state = { isAway: true, asked: 0 };
  const ask = async <Answer>(answer: () => Promise<Answer>): Promise<Answer> => {
    state.asked += 1;
    if (!state.isAway) return await answer();
    throw new HoldfastError('UNAVAILABLE', 'nobody answers');
  };
  const store: LeaseStore = {
    ...there,
    read: (keys, signal) => ask(() => there.read(keys, signal)),
    commit: (asked, signal) => ask(() => there.commit(asked, signal)),
  };
  return { state, context: { store, turns: new KeyedMutex() } };
}

t.test('a store that is away is asked once for all that wait', async (t) => {
  const { state, context } = start();
  const waiting = Array.from({ length: 20 }, () => inTurn(context, look, SIGNAL));
  const outcomes = await Promise.allSettled(waiting);
  t.ok(outcomes.every((each) => each.status === 'rejected' && each.reason.code === 'UNAVAILABLE'));
  t.equal(state.asked, 1);
  await t.rejects(inTurn(context, look, SIGNAL), { message: 'nobody answers' }, 'who comes later asks again');
  state.isAway = false;
  await inTurn(context, look, SIGNAL);
});

t.test('a change whose outcome is unclear, and a caller that gives up, say nothing about the others', async (t) => {
  const { state, context } = start();
  const giving = new AbortController();
  const works = [
    inTurn(context, change, SIGNAL),
    inTurn(
      context,
      async () => {
        giving.abort(new HoldfastError('UNAVAILABLE', 'nobody waits any more'));
        giving.signal.throwIfAborted();
      },
      giving.signal,
    ),
    inTurn(
      context,
      async (transaction) => {
        state.isAway = false;
        await look(transaction);
      },
      SIGNAL,
    ),
  ];
  t.strictSame(
    (await Promise.allSettled(works)).map(({ status }) => status),
    ['rejected', 'rejected', 'fulfilled'],
  );
});
