// What becomes of a handler's outcome, command by command.
import assert from 'node:assert/strict';
import t from 'tap';
import { answerCall, outlivesCaller } from '../../../agent/api/cni-calls.ts';
import { CniError } from '../../../agent/network/cni/cni-error.ts';
import { HoldfastError } from '../../../lib/errors.ts';
import { assertCniAnswer } from '../../support/cni-json.ts';
import { recordingHandler } from '../../support/recording-cni-handler.ts';

const CONFIG = {
  cniVersion: '1.1.0',
  name: 'pods',
  type: 'holdfast',
  'cni.dev/valid-attachments': [],
};

function callOf(command: string) {
  const prevResult = command === 'CHECK' ? { ips: [] } : undefined;
  return {
    variables: new Map(
      Object.entries({ CNI_COMMAND: command, CNI_CONTAINERID: 'c', CNI_NETNS: '/run/netns/c', CNI_IFNAME: 'eth0' }),
    ),
    stdin: Buffer.from(JSON.stringify({ ...CONFIG, prevResult })),
  };
}

/** @returns the error of the answer; undefined for a success */
async function outcome(command: string, thrown: unknown, signal = new AbortController().signal) {
  const handler = recordingHandler(async () => {
    throw thrown;
  });
  const finished = await answerCall(handler, callOf(command), signal);
  assert.equal(finished.command, command);
  const error = assertCniAnswer(finished.answer, command, '1.1.0');
  assert.equal(finished.code, error?.code ?? 0);
  return error;
}

t.test('DEL does not fail for what is not there', async (t) => {
  t.equal(await outcome('DEL', new HoldfastError('NOT_FOUND', 'no such attachment')), undefined);
  t.equal(await outcome('DEL', new CniError(3, 'PRECONDITION', 'no such namespace')), undefined);
  t.match(await outcome('DEL', new HoldfastError('HOST_FAILURE', 'netlink')), { code: 5 });
  t.match(await outcome('CHECK', new HoldfastError('NOT_FOUND', 'no such attachment')), { code: 3 });
});

t.test('STATUS says that ADD would fail, not that it should be tried again', async (t) => {
  for (const code of ['NO_ROOM', 'UNAVAILABLE', 'DEADLINE'] as const) {
    t.match(await outcome('STATUS', new HoldfastError(code, 'etcd is away')), { code: 50 }, code);
  }
  t.match(await outcome('STATUS', new CniError(51, 'UNAVAILABLE', 'impaired')), { code: 51 });
  t.match(await outcome('ADD', new HoldfastError('UNAVAILABLE', 'etcd is away')), { code: 11 });
});

t.test('what a collection could not free is reported all at once', async (t) => {
  const errors = [new HoldfastError('UNAVAILABLE', 'first'), new Error('second'), new HoldfastError('BUG', 'third')];
  const error = await outcome('GC', new AggregateError(errors, 'x'));
  t.match(error, { code: 11, msg: /^holdfast UNAVAILABLE: 3 stale attachments could not be freed.*first$/ });
  t.equal(error?.details, 'second; third');
  t.match(await outcome('GC', new AggregateError([new HoldfastError('NOT_FOUND', 'only')])), { code: 3 });
  t.match(await outcome('GC', new AggregateError([])), { code: 103 });
});

t.test('whoever gives up because it was told to says why it was told', async (t) => {
  const controller = new AbortController();
  const gaveUp = Object.assign(new Error('aborted'), { name: 'AbortError' });
  t.match(await outcome('ADD', gaveUp, controller.signal), { code: 103, details: 'aborted' }, 'nobody told it');
  controller.abort(new HoldfastError('DEADLINE', 'not done in time'));
  t.match(await outcome('ADD', gaveUp, controller.signal), { code: 11, msg: /DEADLINE: not done in time/ });
  const other = new HoldfastError('HOST_FAILURE', 'netlink');
  t.match(await outcome('ADD', other, controller.signal), { code: 5 }, 'another error stays what it is');
});

t.test('a handler that throws at once, or something odd, is answered all the same', async (t) => {
  for (const thrown of [undefined, null, 0, 'text', {}, new TypeError('x')]) {
    t.match(await outcome('ADD', thrown), { code: 103 });
  }
  const handler = recordingHandler(() => {
    throw new HoldfastError('NO_ROOM', 'full');
  });
  t.match((await answerCall(handler, callOf('ADD'), new AbortController().signal)).code, 50);
});

t.test('freeing goes on when the caller is gone, making does not', async (t) => {
  t.strictSame(['ADD', 'CHECK', 'STATUS', 'DEL', 'GC', 'x'].map(callOf).map(outlivesCaller), [
    false,
    false,
    false,
    true,
    true,
    false,
  ]);
});
