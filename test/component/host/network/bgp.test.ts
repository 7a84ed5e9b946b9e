// Routed mode with a routing daemon: BIRD, configured as the documentation says, tells a router where each pod is, and the
// route follows the pod from host to host.
import { execFileSync } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { pollUntil } from '../../../../agent/cli/quickstart/poll.ts';
import type { Program } from '../../../../agent/cli/quickstart/program.ts';
import { createPodLinks } from '../../../../agent/host/network/create-pod-links.ts';
import { POD_ROUTE_TABLE } from '../../../../agent/host/network/host-routes.ts';
import type { PodLinks } from '../../../../agent/host/network/pod-links.ts';
import { boundProgram } from '../../../kube/cluster/flags.ts';
import { makeMemoryFolder } from '../../../support/memory-folder.ts';
import { makeNamespace, NO_NETWORK_NAMESPACES, type TestNamespace } from '../../../support/network-namespaces.ts';
import { ipv4Of, ipv6Of, NEVER, planOf, ROUTED } from './support.ts';

const SKIP = ((): string | false => {
  if (NO_NETWORK_NAMESPACES !== false) return NO_NETWORK_NAMESPACES;
  try {
    execFileSync('bird', ['--version'], { stdio: 'ignore' });
    return false;
  } catch {
    return 'bird is not installed (the Debian package bird2)';
  }
})();

const PAGE = fileURLToPath(new URL('../../../../docs/stateful-ip.md', import.meta.url));
const PATIENCE_MS = 60_000;

const ROUTER = ['192.0.2.1', '2001:db8::1'] as const;
/** The page's example is the first host's. */
const HOSTS = { one: ['192.0.2.11', '2001:db8::11'], two: ['192.0.2.12', '2001:db8::12'] } as const;
type HostName = keyof typeof HOSTS;

const ROUTER_CONFIGURATION = `
router id ${ROUTER[0]};
protocol device { }
protocol kernel { ipv4 { import none; export all; }; }
protocol kernel { ipv6 { import none; export all; }; }
${Object.values(HOSTS)
  .map(
    ([ipv4, ipv6]) => `
protocol bgp {
  local ${ROUTER[0]} as 64512; neighbor ${ipv4} as 64513;
  ipv4 { import where net ~ [ 10.77.0.0/16{32,32} ]; export none; };
}
protocol bgp {
  local ${ROUTER[1]} as 64512; neighbor ${ipv6} as 64513;
  ipv6 { import where net ~ [ fd77::/64{128,128} ]; export none; };
}`,
  )
  .join('\n')}
`;

/** The configuration on the page, for the host with these addresses. */
async function documented([ipv4, ipv6]: readonly [string, string]): Promise<string> {
  const example = /^```bird\n(.*?)^```$/ms.exec(await readFile(PAGE, 'utf8'))?.[1];
  if (example === undefined) throw new Error(`${PAGE} has no example for BIRD`);
  return example.replaceAll(HOSTS.one[0], ipv4).replaceAll(HOSTS.one[1], ipv6);
}

/** A BIRD of the namespace's own; ends with the test. */
async function startBird(t: Test, namespace: TestNamespace, configuration: string): Promise<Program> {
  const folder = await makeMemoryFolder(t);
  const [config, socket] = [join(folder, 'bird.conf'), join(folder, 'bird.ctl')];
  await writeFile(config, `log stderr all;\n${configuration}`);
  const bird = boundProgram('ip', {
    name: `BIRD of ${namespace.name}`,
    args: ['netns', 'exec', namespace.name, 'bird', '-f', '-c', config, '-s', socket, '-P', join(folder, 'bird.pid')],
    logPath: join(folder, 'log'),
    ready: async () => (await namespace.run('birdc', '-s', socket, 'show', 'status')).includes('Daemon is up'),
  });
  t.teardown(async () => {
    await bird.kill('SIGKILL');
    if (!t.passing()) t.comment(await readFile(join(folder, 'log'), 'utf8'));
  });
  await bird.start();
  return bird;
}

interface Host {
  readonly namespace: TestNamespace;
  readonly links: PodLinks;
  readonly bird: Program;
}

/** Joins the host to the router's bridge. */
async function startHost(t: Test, router: TestNamespace, name: HostName): Promise<Host> {
  const [ipv4, ipv6] = HOSTS[name];
  const namespace = await makeNamespace(t, name);
  await namespace.ip('link set lo up');
  await namespace.ip(`link add eth0 type veth peer name ${name} netns ${router.name}`);
  await router.ip(`link set ${name} master lan up`);
  await namespace.ip('link set eth0 up');
  await namespace.ip(`address add ${ipv4}/24 dev eth0`);
  await namespace.ip(`address add ${ipv6}/64 dev eth0 nodad`);
  const links = await createPodLinks({ owner: '0a1b2c', hostNamespace: namespace.path });
  t.teardown(() => links.close());
  return { namespace, links, bird: await startBird(t, namespace, await documented(HOSTS[name])) };
}

/** Waits until the router has a route to the pod by way of the host, or none. */
async function routeLeadsTo(router: TestNamespace, address: string, host: HostName | undefined): Promise<true> {
  const family = address.includes(':') ? 6 : 4;
  const via = host === undefined ? undefined : HOSTS[host][family === 4 ? 0 : 1];
  return await pollUntil(`the router's route to ${address} by way of ${via ?? 'nobody'}`, PATIENCE_MS, async () => {
    const shown = await router.ip(`-${family} route show ${address}`);
    const matches = via === undefined ? shown === '' : shown.split(/\s+/).includes(via);
    return matches || undefined;
  });
}

t.test("a pod's route follows it over BGP", { skip: SKIP }, async (t) => {
  const router = await makeNamespace(t, 'router');
  await router.ip('link set lo up');
  await router.ip('link add lan type bridge');
  await router.ip('link set lan up');
  await router.ip(`address add ${ROUTER[0]}/24 dev lan`);
  await router.ip(`address add ${ROUTER[1]}/64 dev lan nodad`);
  const one = await startHost(t, router, 'one');
  const two = await startHost(t, router, 'two');
  await startBird(t, router, ROUTER_CONFIGURATION);
  const plan = (number: number) => planOf(number, { dataPlane: ROUTED });
  const both = [ipv4Of(11), ipv6Of(11)];

  await t.test('the router learns the way to a pod, and to each pod its own', async (t) => {
    await one.links.attach((await makeNamespace(t, 'pod')).path, plan(12), NEVER);
    await two.links.attach((await makeNamespace(t, 'pod')).path, plan(13), NEVER);
    for (const address of [ipv4Of(12), ipv6Of(12)]) t.ok(await routeLeadsTo(router, address, 'one'), address);
    for (const address of [ipv4Of(13), ipv6Of(13)]) t.ok(await routeLeadsTo(router, address, 'two'), address);
    for (const number of [12, 13]) t.ok(await router.reaches(ipv4Of(number)));
  });

  await t.test('of a pod that moves, the route and the echo come from the new host', async (t) => {
    await one.links.attach((await makeNamespace(t, 'before')).path, plan(11), NEVER);
    for (const address of both) {
      t.ok(await routeLeadsTo(router, address, 'one'), `${address} on the first host`);
      t.ok(await router.reaches(address), `${address} answers`);
    }
    await one.links.quiesce(plan(11).hostName, NEVER);
    for (const address of both) t.ok(await routeLeadsTo(router, address, undefined), `${address} is nowhere`);
    t.notOk(await router.canReach(ipv4Of(11)));
    await two.links.attach((await makeNamespace(t, 'after')).path, plan(11), NEVER);
    for (const address of both) {
      t.ok(await routeLeadsTo(router, address, 'two'), `${address} on the second host`);
      t.ok(await router.reaches(address), `${address} answers`);
    }
    await one.links.remove(plan(11).hostName, NEVER);
    for (const address of both) t.ok(await router.reaches(address), "what is left of the old link is in nobody's way");
  });

  await t.test('nothing but routes to pods is told, and the end of BIRD takes none of them', async (t) => {
    await two.namespace.ip('route add 10.77.0.99/32 dev lo table 2772 proto static');
    await two.links.attach((await makeNamespace(t, 'pod')).path, plan(14), NEVER);
    t.ok(await routeLeadsTo(router, ipv4Of(14), 'two'));
    t.equal(await router.ip('route show 10.77.0.99'), '');
    await two.bird.stop();
    t.match(await two.namespace.ip(`route show table ${POD_ROUTE_TABLE}`), `${ipv4Of(14)} dev`);
    t.ok(await two.namespace.reaches(ipv4Of(14)));
  });
});
