// Whatever is changed behind our back is named.
import t, { type Test } from 'tap';
import type { LinkPlan } from '../../../../agent/host/network/pod-links.ts';
import { makeNamespace, NO_NETWORK_NAMESPACES, type TestNamespace } from '../../../support/network-namespaces.ts';
import { BRIDGE, NEVER, planOf, ROUTED, startHost, type TestHost } from './support.ts';

const skip = NO_NETWORK_NAMESPACES;

interface Damage {
  readonly name: string;
  readonly do: (namespaces: { readonly host: TestNamespace; readonly pod: TestNamespace }) => Promise<unknown>;
  readonly problems: readonly RegExp[];
}

/** Each damage is done to an attachment of its own. */
async function namesEach(t: Test, testHost: TestHost, plan: LinkPlan, damages: readonly Damage[]): Promise<void> {
  for (const damage of damages) {
    await t.test(damage.name, async (t) => {
      const pod = await makeNamespace(t, 'pod');
      t.teardown(() => testHost.links.remove(plan.hostName, NEVER));
      await testHost.links.attach(pod.path, plan, NEVER);
      t.strictSame(await testHost.links.check(pod.path, plan, NEVER), []);
      await damage.do({ host: testHost.host, pod });
      const problems = await testHost.links.check(pod.path, plan, NEVER);
      t.match(problems, damage.problems);
      t.equal(problems.length, damage.problems.length, problems.join('\n'));
    });
  }
}

const POD: readonly Damage[] = [
  {
    name: 'an address that is gone, with its route',
    do: ({ pod }) => pod.ip('address del 10.77.0.11 dev eth0'),
    problems: [
      /^eth0 of the sandbox does not have the address 10\.77\.0\.11\/\d+$/,
      /^eth0 of the sandbox has no route to 0\.0\.0\.0\/0 by way of /,
    ],
  },
  {
    name: 'another hardware address',
    do: ({ pod }) => pod.ip('link set eth0 address 02:00:00:00:00:01'),
    problems: [/hardware address 02:00:00:00:00:01 instead of 0a:58:0a:4d:00:0b$/],
  },
  {
    name: 'another MTU',
    do: ({ pod }) => pod.ip('link set eth0 mtu 1300'),
    problems: [/^eth0 of the sandbox has an MTU of 1300 instead of 1400$/],
  },
  {
    name: 'a default route that is gone',
    do: ({ pod }) => pod.ip('-6 route del default'),
    problems: [/^eth0 of the sandbox has no route to ::\/0 by way of /],
  },
  {
    name: 'forwarding that is off',
    do: ({ host }) => host.run('busybox', 'sysctl', '-w', 'net.ipv4.ip_forward=0'),
    problems: [/^the host does not forward IPv4 /],
  },
];

t.test('in bridge mode', { skip }, async (t) => {
  const plan = planOf(11, { dataPlane: { ...BRIDGE, mtu: 1400 } });
  await namesEach(t, await startHost(t), plan, [
    ...POD,
    {
      name: 'another prefix length',
      do: async ({ pod }) => {
        await pod.ip('address add 10.77.0.11/12 dev eth0');
        await pod.ip('address del 10.77.0.11/16 dev eth0');
      },
      problems: [/has the address 10\.77\.0\.11\/12 instead of 10\.77\.0\.11\/16$/],
    },
    {
      name: "a host's end off its bridge",
      do: ({ host }) => host.ip('link set hfp11 nomaster'),
      problems: [/^hfp11, the host's end, is not a port of the bridge hfbr0$/],
    },
    {
      name: "a host's end that is down",
      do: ({ host }) => host.ip('link set hfp11 down'),
      problems: [/^hfp11, the host's end, is down$/],
    },
    {
      name: 'hairpin mode',
      do: ({ host }) => host.ip('link set hfp11 type bridge_slave hairpin on'),
      problems: [/^hfp11, the host's end, has hairpin mode switched on$/],
    },
    {
      name: 'a gateway that is gone',
      do: ({ host }) => host.ip('address del 10.77.0.1/16 dev hfbr0'),
      problems: [/^the bridge hfbr0 does not have the address 10\.77\.0\.1\/16$/],
    },
    {
      name: 'a bridge that is down',
      do: ({ host }) => host.ip('link set hfbr0 down'),
      problems: [/^the bridge hfbr0 is down$/, /^the bridge hfbr0 does not have the address fd77::1\/64$/],
    },
    {
      name: 'a pair that is gone, and another interface in its place',
      do: async ({ host, pod }) => {
        await host.ip('link del hfp11');
        await host.ip('link del hfbr0');
        await pod.ip('link add eth0 address 0a:58:0a:4d:00:0b mtu 1400 type bridge');
      },
      problems: [
        /^the host's end hfp11 is missing$/,
        /^the host has no bridge hfbr0$/,
        /^eth0 of the sandbox is down$/,
        /address 10\.77\.0\.11\/16$/,
        /address fd77::b\/64$/,
        /route to 0\.0\.0\.0\/0/,
        /route to ::\/0/,
      ],
    },
  ]);
});

t.test('in routed mode', { skip }, async (t) => {
  const plan = planOf(11, { dataPlane: { ...ROUTED, mtu: 1400 } });
  await namesEach(t, await startHost(t), plan, [
    ...POD,
    {
      name: "the host's routes are gone",
      do: async ({ host }) => {
        await host.ip('route del 10.77.0.11 table 2772');
        await host.ip('-6 route del fd77::b table 2772');
      },
      problems: [/^the host has no route to 10\.77\.0\.11\/32$/, /^the host has no route to fd77::b\/128$/],
    },
    {
      name: 'the rule is gone',
      do: ({ host }) => host.ip('-6 rule del priority 27720'),
      problems: [/^the host does not ask its table of pods' IPv6 routes \(ip -6 rule show priority 27720\)$/],
    },
    {
      name: 'the interface of the sandbox is gone',
      do: ({ pod }) => pod.ip('link set eth0 name eth9'),
      problems: [/^the sandbox has no interface eth0$/],
    },
    {
      name: 'the interface of the sandbox is another pair',
      do: async ({ pod }) => {
        await pod.ip('link set eth0 down');
        await pod.ip('link set eth0 name eth9');
        await pod.ip('link add name eth8 index 99 type veth peer name eth0 index 98');
      },
      problems: [
        /^eth0 of the sandbox is not the other end of hfp11$/,
        /^eth0 of the sandbox is down$/,
        /hardware address/,
        /MTU of 1500 instead of 1400/,
        /address 10\.77\.0\.11\/32$/,
        /address fd77::b\/128$/,
        /route to 0\.0\.0\.0\/0/,
        /route to ::\/0/,
      ],
    },
  ]);
});
