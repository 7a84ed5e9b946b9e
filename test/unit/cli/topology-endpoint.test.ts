// `--endpoint`: what it may be, and what people are told when nothing answers there.
import { Metadata, type ServiceError, status } from '@grpc/grpc-js';
import t from 'tap';
import { endpointError, hostOfEndpoint } from '../../../agent/cli/topology-endpoint.ts';

t.test('a name or an address, with a port', async (t) => {
  t.equal(hostOfEndpoint('node-1:9570'), 'node-1');
  t.equal(hostOfEndpoint('10.0.0.1:1'), '10.0.0.1');
  t.equal(hostOfEndpoint('[fe80::1]:65535'), 'fe80::1');
});

for (const endpoint of [
  'node-1',
  'node-1:',
  ':9570',
  'fe80::1:9570',
  'a b:1',
  'localhost:0',
  'localhost:65536',
  'localhost:99999',
]) {
  t.test(`"${endpoint}" is refused with what it must be`, async (t) => {
    t.throws(() => hostOfEndpoint(endpoint), {
      code: 'INVALID_REQUEST',
      message: /HOST:PORT with a port from 1 to 65535/,
    });
  });
}

const failed = (code: status, details: string): ServiceError =>
  Object.assign(new Error(details), { code, details, metadata: new Metadata() });

t.test('where nothing answers, what to look at on the other host', async (t) => {
  for (const details of ['connect ECONNREFUSED 10.0.0.1:9570', 'Name resolution failed for target dns:node-1:9570']) {
    t.match(endpointError(failed(status.UNAVAILABLE, details), 'node-1:9570'), {
      code: 'UNAVAILABLE',
      message:
        'the agent does not answer on node-1:9570: is topologyApi set in its configuration, and can this host reach the port?',
    });
  }
});

t.test('what else went wrong is said as it is', async (t) => {
  const tls = endpointError(
    failed(status.UNAVAILABLE, "Hostname/IP does not match certificate's altnames"),
    'node-1:1',
  );
  t.match(tls, { code: 'UNAVAILABLE', message: /the agent on node-1:1: .*altnames/ });
  const said = endpointError(failed(status.FAILED_PRECONDITION, 'holdfast PRECONDITION: not yet'), 'node-1:1');
  t.match(said, { code: 'PRECONDITION', message: 'not yet' });
  const other = new Error('another');
  t.equal(endpointError(other, 'node-1:1'), other);
});
