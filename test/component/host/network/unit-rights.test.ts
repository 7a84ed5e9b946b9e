// The agent's unit leaves it the rights that its network needs.
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { makeNamespace, NO_NETWORK_NAMESPACES } from '../../../support/network-namespaces.ts';
import { startHost } from './support.ts';

const UNIT = fileURLToPath(new URL('../../../../systemd/holdfast-agent.service', import.meta.url));
const PROGRAM = fileURLToPath(new URL('./attach-program.ts', import.meta.url));

const setting = (unit: string, name: string): readonly string[] =>
  (new RegExp(`^${name}=(.*)$`, 'm').exec(unit)?.[1] ?? '').split(' ');

t.test('sandboxes are joined with the rights of the agent’s unit', { skip: NO_NETWORK_NAMESPACES }, async (t) => {
  const unit = await readFile(UNIT, 'utf8');
  const capabilities = setting(unit, 'CapabilityBoundingSet').map(
    (name) => `+${name.slice('CAP_'.length).toLowerCase()}`,
  );
  const { host } = await startHost(t);
  const [bridged, routed] = [await makeNamespace(t, 'bridged'), await makeNamespace(t, 'routed')];
  const stdout = await host.run(
    'setpriv',
    `--bounding-set=-all,${capabilities.join(',')}`,
    '--no-new-privs',
    process.execPath,
    '--import=tsx',
    PROGRAM,
    host.path,
    bridged.path,
    routed.path,
  );
  t.equal(stdout, '\n\ndone\n', 'nothing is missing');
});

t.test('the unit lets it open the sockets for it', async (t) => {
  const families = setting(await readFile(UNIT, 'utf8'), 'RestrictAddressFamilies');
  for (const family of ['AF_NETLINK', 'AF_PACKET', 'AF_UNIX', 'AF_INET', 'AF_INET6']) {
    t.ok(families.includes(family), family);
  }
});
