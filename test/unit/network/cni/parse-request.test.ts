// From environment and standard input to a request: what each command needs, what is refused and under which code.
import t from 'tap';
import { parseCall } from '../../../../agent/network/cni/parse-request.ts';

const ENVIRONMENT = {
  CNI_CONTAINERID: 'c0ffee',
  CNI_NETNS: '/run/netns/blue',
  CNI_IFNAME: 'eth0',
  CNI_PATH: '/opt/cni/bin',
};
const CONFIG = { cniVersion: '1.1.0', name: 'pods', type: 'holdfast' };
const ID = { network: 'pods', containerId: 'c0ffee', ifname: 'eth0' };
const BRIDGE = { mode: 'bridge', bridge: 'holdfast0', hairpin: true };

function parse(command: string, config: unknown = CONFIG, environment: Readonly<Record<string, string>> = {}) {
  const stdin = Buffer.from(typeof config === 'string' ? config : JSON.stringify(config));
  return parseCall({
    variables: new Map(Object.entries({ CNI_COMMAND: command, ...ENVIRONMENT, ...environment })),
    stdin,
  });
}

function requestOf(...args: Parameters<typeof parse>) {
  const parsed = parse(...args);
  if (parsed.outcome === 'refused') throw parsed.error;
  return parsed.request;
}

/** CNI's code and the message. */
function refusal(...args: Parameters<typeof parse>): readonly [number, string] {
  const parsed = parse(...args);
  if (parsed.outcome === 'request') throw new Error(`not refused: ${JSON.stringify(parsed.request)}`);
  return [parsed.error.cniCode, parsed.error.message];
}

t.test('ADD has the attachment, the namespace, the settings with their defaults, and the pod', async (t) => {
  const args =
    'IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=c0ffee;K8S_POD_UID=';
  const annotations = { 'holdfast.dev/ip': 'keep' };
  const config = { ...CONFIG, runtimeConfig: { 'io.kubernetes.cri.pod-annotations': annotations, portMappings: [] } };
  t.strictSame(requestOf('ADD', config, { CNI_ARGS: args }), {
    command: 'ADD',
    id: ID,
    netns: '/run/netns/blue',
    config: { name: 'pods', dataPlane: BRIDGE },
    pod: { namespace: 'default', name: 'web-0', annotations },
  });
});

t.test('without CNI_ARGS and annotations nothing is known of the pod', async (t) => {
  t.match(requestOf('ADD'), { pod: {} });
  t.strictSame(Object.keys((requestOf('ADD') as { readonly pod: object }).pod), []);
  t.match(requestOf('ADD', { ...CONFIG, runtimeConfig: null }), { pod: {} });
});

t.test('DEL needs neither namespace nor settings', async (t) => {
  const expected = { command: 'DEL', id: ID, config: { name: 'pods', dataPlane: BRIDGE } };
  t.strictSame(requestOf('DEL', CONFIG, { CNI_NETNS: '' }), expected);
  t.strictSame(requestOf('DEL', CONFIG, { CNI_NETNS: 'not/absolute' }), expected, 'what is no path is none');
  t.strictSame(requestOf('DEL', { ...CONFIG, mode: 'brigde', mtu: 'x' }, { CNI_NETNS: '' }), expected);
  t.strictSame(requestOf('DEL', { ...CONFIG, prevResult: { ips: 'nonsense' } }, { CNI_NETNS: '' }), expected);
  t.strictSame(requestOf('DEL', CONFIG, { CNI_ARGS: 'nonsense' }), { ...expected, netns: '/run/netns/blue' });
  t.match(requestOf('DEL', { ...CONFIG, type: 'other' }), { config: { name: 'pods', dataPlane: { mode: 'ipam' } } });
});

t.test('DEL is refused only for want of what it is about', async (t) => {
  t.match(refusal('DEL', CONFIG, { CNI_CONTAINERID: '' }), [4, /CNI_CONTAINERID is missing/]);
  t.match(refusal('DEL', CONFIG, { CNI_IFNAME: '' }), [4, /CNI_IFNAME is missing/]);
  t.match(refusal('DEL', { ...CONFIG, name: '' }), [7, /name is ""/]);
});

const PREVIOUS = {
  interfaces: [
    { name: 'eth0', mac: '0a:00:00:00:00:01' },
    { name: 'eth0', mac: '0a:00:00:00:00:02', sandbox: '/run/netns/blue' },
    { name: 'net1', mac: '0a:00:00:00:00:03', sandbox: '/run/netns/blue' },
  ],
  ips: [
    { address: '10.1.0.5/16', gateway: '10.1.0.1', interface: 1 },
    { address: 'fd00::5/64', interface: 1 },
    { address: '10.9.0.1/16', interface: 2 },
    { address: '10.1.0.1/16', interface: 0 },
    { address: '10.2.0.5/16' },
  ],
};

t.test("CHECK expects the interface's addresses of the result, and those on no interface", async (t) => {
  for (const cniVersion of ['1.0.0', '1.1.0']) {
    t.strictSame(requestOf('CHECK', { ...CONFIG, cniVersion, prevResult: { cniVersion, ...PREVIOUS } }), {
      command: 'CHECK',
      id: ID,
      netns: '/run/netns/blue',
      config: { name: 'pods', dataPlane: BRIDGE },
      expected: ['10.1.0.5/16', 'fd00::5/64', '10.2.0.5/16'],
      expectedMac: '0a:00:00:00:00:02',
    });
  }
});

t.test('CHECK reads results of 0.4.0, where each address has its version', async (t) => {
  const ips = PREVIOUS.ips.map((ip) => ({ ...ip, version: ip.address.includes(':') ? '6' : '4' }));
  const config = { ...CONFIG, cniVersion: '0.4.0' };
  t.match(requestOf('CHECK', { ...config, prevResult: { ...PREVIOUS, ips } }), {
    expected: ['10.1.0.5/16', 'fd00::5/64', '10.2.0.5/16'],
  });
  const wrong = { ips: [{ address: '10.1.0.5/16', version: '6' }] };
  t.match(refusal('CHECK', { ...config, prevResult: wrong }), [7, /"10\.1\.0\.5\/16" has the version "6"/]);
});

t.test('CHECK is refused without a result that can be read', async (t) => {
  t.match(refusal('CHECK'), [7, /prevResult is missing/]);
  t.match(refusal('CHECK', { ...CONFIG, prevResult: null }), [7, /prevResult is missing/]);
  t.match(refusal('CHECK', { ...CONFIG, prevResult: [] }), [7, /prevResult: a list/]);
  for (const ip of [{ address: '10.1.0.5' }, { address: '10.1.0.5/16', interface: -1 }, { address: 5 }, 'x']) {
    t.match(refusal('CHECK', { ...CONFIG, prevResult: { ips: [ip] } }), [7, /prevResult\.ips\.0/]);
  }
  const beyond = { ips: [{ address: '10.1.0.5/16', interface: 3 }], interfaces: [] };
  t.match(refusal('CHECK', { ...CONFIG, prevResult: beyond }), [7, /is on interface 3 of 0/]);
});

t.test('GC has the attachments that are valid', async (t) => {
  const valid = [
    { containerID: 'c0ffee', ifname: 'eth0' },
    { containerID: 'decaf', ifname: 'net1', extra: true },
  ];
  const config = { ...CONFIG, 'cni.dev/valid-attachments': valid };
  t.strictSame(requestOf('GC', config, { CNI_CONTAINERID: '', CNI_IFNAME: '', CNI_NETNS: '' }), {
    command: 'GC',
    config: { name: 'pods', dataPlane: BRIDGE },
    valid: [
      { containerId: 'c0ffee', ifname: 'eth0' },
      { containerId: 'decaf', ifname: 'net1' },
    ],
  });
  t.match(requestOf('GC', { ...CONFIG, 'cni.dev/valid-attachments': [] }), { valid: [] });
});

t.test('GC is refused as a whole when the list is not there, or one of it cannot be read', async (t) => {
  t.match(refusal('GC'), [7, /cni\.dev\/valid-attachments: nothing: must be the list/]);
  for (const list of [null, {}, 'x', [null], [{ containerID: '../x', ifname: 'eth0' }], [{ containerID: 'a' }]]) {
    t.match(refusal('GC', { ...CONFIG, 'cni.dev/valid-attachments': list }), [7, /cni\.dev\/valid-attachments/]);
  }
});

t.test('STATUS has the settings, and looks at them', async (t) => {
  t.strictSame(requestOf('STATUS'), { command: 'STATUS', config: { name: 'pods', dataPlane: BRIDGE } });
  t.match(refusal('STATUS', { ...CONFIG, mode: 'x' }), [7, /mode: "x"/]);
});

t.test('versions that are not spoken, and commands that a version does not have, are error 1', async (t) => {
  for (const cniVersion of ['0.3.1', '2.0.0', '', 1, null, undefined]) {
    t.match(
      refusal('ADD', { ...CONFIG, cniVersion }),
      [1, /supported are 0\.4\.0, 1\.0\.0, 1\.1\.0/],
      String(cniVersion),
    );
  }
  for (const command of ['GC', 'STATUS']) {
    t.match(refusal(command, { ...CONFIG, cniVersion: '1.0.0' }), [
      1,
      /does not exist in CNI 1\.0\.0, only from 1\.1\.0/,
    ]);
  }
  t.equal(
    parse('ADD', { ...CONFIG, cniVersion: '0.3.1' }).version,
    '0.3.1',
    'the answer is in the version of the question',
  );
  t.equal(parse('ADD', { ...CONFIG, cniVersion: '<script>' }).version, '1.1.0');
});

t.test('what is not JSON, or no object, is error 6', async (t) => {
  for (const text of ['', ' ', '{', '[]', 'null', '"x"', '1e999', '\u0000', '{"a":1}x']) {
    t.match(refusal('ADD', text), [6, /network configuration on standard input/], JSON.stringify(text));
  }
  const invalid = parseCall({ variables: new Map([['CNI_COMMAND', 'ADD']]), stdin: Buffer.from([0x7b, 0xff, 0x7d]) });
  t.match(invalid, { outcome: 'refused', command: 'ADD', error: { cniCode: 6, message: /is not UTF-8/ } });
});

t.test('variables that are missing or wrong are error 4, and named', async (t) => {
  for (const command of ['', 'add', 'VERSION', 'UPDATE']) t.match(refusal(command), [4, /CNI_COMMAND/]);
  const wrong: Readonly<Record<string, readonly string[]>> = {
    CNI_CONTAINERID: ['', '-a', '.', '..', 'a/b', 'a b', 'a\n', 'ä', 'a'.repeat(254)],
    CNI_IFNAME: ['', '.', '..', 'a/b', 'a:b', 'a b', 'eth%d', 'a\t', 'ä', '\uFFFD', 'a'.repeat(16)],
    CNI_NETNS: ['', 'run/netns/x', './x', '/\uFFFD', `/${'a'.repeat(4096)}`],
    CNI_ARGS: ['nonsense', '=x', 'K8S_POD_NAME=Web', 'K8S_POD_NAME=a;K8S_POD_NAME=b', 'K8S_POD_UID=../x'],
  };
  for (const [name, values] of Object.entries(wrong)) {
    for (const value of values)
      t.match(refusal('ADD', CONFIG, { [name]: value }), [4, new RegExp(name)], `${name}=${JSON.stringify(value)}`);
  }
});

t.test('variables at the edge of what is allowed are taken', async (t) => {
  const edge = {
    CNI_CONTAINERID: `a${'_.-'.repeat(84)}`,
    CNI_IFNAME: 'a'.repeat(15),
    CNI_NETNS: '/proc/1/ns/net',
    CNI_ARGS: ';A=b=c;;K8S_POD_UID=0123456789abcdef0123456789abcdef;',
  };
  t.match(requestOf('ADD', CONFIG, edge), {
    id: { containerId: edge.CNI_CONTAINERID, ifname: edge.CNI_IFNAME },
    pod: { uid: '0123456789abcdef0123456789abcdef' },
  });
});

t.test('the plugin must be first of its chain; as an IPAM plugin it is not in one', async (t) => {
  const prevResult = { ips: [] };
  t.match(refusal('ADD', { ...CONFIG, prevResult }), [7, /prevResult is set.*put it first/]);
  t.ok(requestOf('ADD', { ...CONFIG, prevResult: null }));
  t.ok(requestOf('ADD', { ...CONFIG, type: 'macvlan', ipam: { type: 'holdfast' }, prevResult }));
});

t.test('annotations that are not texts are error 7', async (t) => {
  for (const annotations of ['x', [], { a: 1 }, { a: null }]) {
    const runtimeConfig = { 'io.kubernetes.cri.pod-annotations': annotations };
    t.match(refusal('ADD', { ...CONFIG, runtimeConfig }), [7, /pod-annotations/]);
  }
  t.match(refusal('ADD', { ...CONFIG, runtimeConfig: 'x' }), [7, /runtimeConfig/]);
});
