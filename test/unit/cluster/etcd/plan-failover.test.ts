// What is known after a call that failed: only what certainly was not carried out may be sent again.
import { status } from '@grpc/grpc-js';
import t from 'tap';
import { judgeFailure } from '../../../../agent/cluster/etcd/plan-failover.ts';

t.test('what never left or was refused before it began may be sent to another member', (t) => {
  for (const details of [
    'No connection established. Last error: connect ECONNREFUSED 127.0.0.1:2379. Resolution note: ',
    'Name resolution failed for target dns:etcd-1:2379',
    'Channel closed before call started',
    'etcdserver: no leader',
    'etcdserver: too many requests',
  ]) {
    const code = details.includes('too many') ? status.RESOURCE_EXHAUSTED : status.UNAVAILABLE;
    t.match(judgeFailure({ code, details }), { maybeApplied: false, elsewhere: true, code: 'UNAVAILABLE' }, details);
  }
  t.end();
});

t.test('whatever else happens to a call may have happened after it was carried out', (t) => {
  for (const [code, details] of [
    [status.UNAVAILABLE, 'Connection dropped'],
    [status.UNAVAILABLE, 'etcdserver: request timed out'],
    [status.UNAVAILABLE, 'etcdserver: request timed out, possibly due to previous leader failure'],
    [status.UNAVAILABLE, 'etcdserver: leader changed'],
    [status.UNAVAILABLE, 'etcdserver: server stopped'],
    [status.UNAVAILABLE, 'something new: No connection established'],
    [status.DEADLINE_EXCEEDED, 'Deadline exceeded after 2s'],
    [status.RESOURCE_EXHAUSTED, 'Received message larger than max'],
    [status.CANCELLED, 'Cancelled on client'],
    [status.INTERNAL, 'Received RST_STREAM with code 2'],
    [status.UNKNOWN, ''],
  ] as const) {
    t.match(judgeFailure({ code, details }), { maybeApplied: true, elsewhere: true, code: 'UNAVAILABLE' }, details);
  }
  t.end();
});

t.test('what no other member would answer otherwise is told at once', (t) => {
  for (const [code, details, expected] of [
    [status.INVALID_ARGUMENT, 'etcdserver: request is too large', 'INVALID_REQUEST'],
    [status.INVALID_ARGUMENT, 'etcdserver: duplicate key given in txn request', 'BUG'],
    [status.NOT_FOUND, 'etcdserver: requested lease not found', 'NOT_FOUND'],
    [status.INVALID_ARGUMENT, 'etcdserver: user name is empty', 'INVALID_CONFIG'],
    [status.PERMISSION_DENIED, 'etcdserver: permission denied', 'INVALID_CONFIG'],
    [status.UNAUTHENTICATED, 'etcdserver: invalid auth token', 'INVALID_CONFIG'],
    [status.RESOURCE_EXHAUSTED, 'etcdserver: mvcc: database space exceeded', 'UNAVAILABLE'],
  ] as const) {
    t.match(judgeFailure({ code, details }), { maybeApplied: false, elsewhere: false, code: expected }, details);
  }
  t.end();
});
