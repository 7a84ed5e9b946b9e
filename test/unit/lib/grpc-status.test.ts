import { Metadata, status } from '@grpc/grpc-js';
import t from 'tap';
import { describeError, ERROR_STATUS, HoldfastError, isErrno } from '../../../lib/errors.ts';
import { fromServiceError, toServiceError, toStatus } from '../../../lib/grpc-status.ts';

t.test('an error goes over gRPC and back with its code and message', async (t) => {
  for (const code of Object.keys(ERROR_STATUS) as (keyof typeof ERROR_STATUS)[]) {
    const sent = toServiceError(new HoldfastError(code, 'what, why, what to do', { cause: new Error('below') }));
    t.equal(sent.code, ERROR_STATUS[code]);
    t.equal(sent.details, `holdfast ${code}: what, why, what to do: below`);
    t.match(fromServiceError(sent, 'the agent'), { code, message: 'what, why, what to do: below' });
  }
});

t.test('what is not our error is told apart', async (t) => {
  t.match(toStatus(new TypeError('x is undefined')), { code: status.INTERNAL, details: /BUG: x is undefined/ });
  t.match(toStatus(AbortSignal.abort().reason), { code: status.CANCELLED });
  const foreign = (code: status, details: string) =>
    Object.assign(new Error(details), { code, details, metadata: new Metadata() });
  t.match(fromServiceError(foreign(status.UNAVAILABLE, 'no connection'), 'containerd'), {
    code: 'UNAVAILABLE',
    message: 'containerd: no connection',
  });
  t.match(fromServiceError(foreign(status.UNKNOWN, 'holdfast NONSENSE: x'), 'containerd'), { code: 'HOST_FAILURE' });
});

t.test('causes are told on one line', async (t) => {
  const error = new HoldfastError('HOST_FAILURE', 'rename failed', { cause: new Error('EXDEV\ncross-device') });
  t.equal(describeError(error), 'rename failed: EXDEV cross-device');
  t.equal(describeError('text'), 'text');
  t.ok(isErrno(Object.assign(new Error('x'), { code: 'ENOENT' }), 'EACCES', 'ENOENT'));
  t.notOk(isErrno(new HoldfastError('BUG', 'x'), 'ENOENT'));
});
