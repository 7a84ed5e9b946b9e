// Where nobody can be asked whether an address is in use, it is not attached.
import t from 'tap';
import { makeNamespace, NO_NETWORK_NAMESPACES } from '../../../support/network-namespaces.ts';
import { interfacesOf, joinedPlanOf, NEVER, planOf, ROUTED, startHost, startJoinedHosts } from './support.ts';

const skip = NO_NETWORK_NAMESPACES;

t.test('an uplink without a carrier', { skip }, async (t) => {
  const [left, right] = await startJoinedHosts(t);
  const one = await makeNamespace(t, 'one');
  await right.host.ip('link set up0 down');
  await t.rejects(left.links.attach(one.path, joinedPlanOf(11, { probe: true }), NEVER), {
    code: 'UNAVAILABLE',
    message: /the port up0 of the bridge has no carrier/,
  });
  t.strictSame(await left.links.list('hfp', NEVER), []);
  t.strictSame(await interfacesOf(one), ['lo']);
});

t.test('routed mode', { skip }, async (t) => {
  const { links } = await startHost(t);
  const one = await makeNamespace(t, 'one');
  await t.rejects(links.attach(one.path, planOf(11, { dataPlane: ROUTED, probe: true }), NEVER), {
    code: 'INVALID_REQUEST',
    message: /routed mode/,
  });
  t.strictSame(await interfacesOf(one), ['lo']);
});
