// All that the agent does to the network, as a process with as few rights as the agent's unit leaves: the host's and the
// sandbox's namespaces are its arguments.
import { createPodLinks } from '../../../../agent/host/network/create-pod-links.ts';
import { ensureMasquerade } from '../../../../agent/host/network/masquerade.ts';
import { planMasquerade } from '../../../../agent/host/network/plan-masquerade.ts';
import { parseSubnet } from '../../../../agent/model/address.ts';
import { NEVER, planOf, ROUTED } from './support.ts';

const [hostNamespace = '', bridged = '', routed = ''] = process.argv.slice(2);
const links = await createPodLinks({ owner: '0a1b2c', hostNamespace, announcePauseMs: 1 });
const plan = planOf(2, { probe: true, moved: true });
await links.attach(bridged, plan, NEVER);
await links.announce(bridged, plan, NEVER);
await links.quiesce(plan.hostName, NEVER);
await links.resume(plan, NEVER);
const other = planOf(3, { dataPlane: ROUTED });
await links.attach(routed, other, NEVER);
for (const [netns, each] of [
  [bridged, plan],
  [routed, other],
] as const) {
  process.stdout.write(`${(await links.check(netns, each, NEVER)).join('; ')}\n`);
}
await ensureMasquerade(planMasquerade([{ name: 'pods', subnets: [parseSubnet('10.77.0.0/16')] }]), NEVER);
await links.remove(plan.hostName, NEVER);
await links.remove(other.hostName, NEVER);
await links.close();
process.stdout.write('done\n');
