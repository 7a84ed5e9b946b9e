// What refusals of the API server come to: kind, status, and who owns the fields of a conflict.
import t from 'tap';
import { apiErrorFrom } from '../../../agent/cluster/api-error.ts';

const conflict = (...messages: readonly string[]) => ({
  code: 409,
  message: 'Apply failed',
  details: { causes: messages.map((message) => ({ reason: 'FieldManagerConflict', message })) },
});

t.test('the managers of a conflict are named, each once', async (t) => {
  const message = 'conflict with "nfd-topology-updater" using topology.node.k8s.io/v1alpha2';
  const error = apiErrorFrom(409, conflict(message, message, 'conflict with "kubectl" with subresource "status"'));
  t.match(error, { httpCode: 409, kind: 'other', conflictingManagers: ['nfd-topology-updater', 'kubectl'] });
});

t.test('what is not understood of a conflict is left out', async (t) => {
  t.strictSame(apiErrorFrom(409, conflict('', 'no names', `"${'x'.repeat(1000)}"`)).conflictingManagers, []);
  t.strictSame(apiErrorFrom(409, 'a page').conflictingManagers, []);
  const many = conflict(...Array.from({ length: 100 }, (_, index) => `"m${index}"`));
  t.equal(apiErrorFrom(409, many).conflictingManagers.length, 5);
  t.strictSame(apiErrorFrom(409, conflict('"a\u001b[2Jb"')).conflictingManagers, ['a [2Jb'], 'no terminal is moved');
});

t.test('a refusal says which rights the request needs', async (t) => {
  t.match(apiErrorFrom(403, {}), { message: /list and watch of pods/ });
  t.match(apiErrorFrom(403, {}, undefined, 'patch of things is needed'), { message: /\(patch of things is needed\)/ });
});
