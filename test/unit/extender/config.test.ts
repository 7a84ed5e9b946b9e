// The extender's configuration: what cannot be meant is refused, with its place and what to write instead.
import { readFile } from 'node:fs/promises';
import t from 'tap';
import { parseAllDocuments } from 'yaml';
import { parseExtenderConfig } from '../../../extender/config/load.ts';

const parse = (text: string) =>
  parseExtenderConfig('extender.yaml', `apiVersion: holdfast.dev/v1\nkind: ExtenderConfig\n${text}`);

t.test('without a word more than its kind it has a default for everything', async (t) => {
  t.match(parse(''), {
    listen: { address: { host: '127.0.0.1', port: 9572 }, health: 'off' },
    agents: { endpoints: [], maxAge: 30_000, onLost: 'refuse', onUnknown: 'refuse' },
    inFlight: { ttl: 30_000, wait: 2000, nodes: 100 },
  });
});

t.test('what cannot be meant is refused, with its place', async (t) => {
  t.throws(() => parseExtenderConfig('extender.yaml', 'apiVersion: holdfast.dev/v1\nkind: AgentConfig\n'), {
    message: /extender\.yaml:2:7: kind must be/,
  });
  for (const [text, message] of [
    ['agents: {ports: 1}', /extender\.yaml:3:10: agents\.ports is unknown; known here: port, endpoints/],
    ['agents: {endpoints: [{node: a, address: "10.0.0.1:99999"}]}', /3:\d+: .*must end with a port from 1 to 65535/],
    ['agents: {endpoints: [{node: a, address: "10.0.0.1:0"}]}', /must end with a port from 1 to 65535/],
    ['agents: {maxAge: 0s}', /3:18: agents\.maxAge must be longer than 0s/],
    ['inFlight: {ttl: 0s, wait: 0s}', /inFlight\.ttl must be longer than 0s/],
    ['inFlight: {ttl: 1s, wait: 10m}', /3:27: inFlight\.wait: .*longer than inFlight\.ttl/],
    ['inFlight: {nodes: 0}', /inFlight\.nodes/],
    [
      'agents: {endpoints: [{node: a, address: "127.0.0.1:1"}, {node: a, address: "127.0.0.1:2"}]}',
      /3:57: agents\.endpoints\.1: there is one for node a already/,
    ],
    ['listen: {address: "0.0.0.0:9572"}', /3:19: listen\.address: other hosts can reach 0\.0\.0\.0.*set listen\.tls/],
    ['kubernetes: {kubeconfig: /k}', /kubernetes: .*without encryption: set agents\.tls/],
    ['agents: {endpoints: [{node: a, address: "[fd00::1]:9570"}]}', /fd00::1 would be followed without encryption/],
  ] as const) {
    t.throws(() => parse(text), { message }, text);
  }
});

t.test('what is only dangerous is taken when it is said', async (t) => {
  t.ok(parse('listen: {address: "0.0.0.0:9572", plaintext: allow}'));
  t.ok(parse('kubernetes: {kubeconfig: /k}\nagents: {plaintext: allow}'));
  t.ok(parse('agents: {endpoints: [{node: a, address: "10.0.0.1:9570"}], plaintext: allow}'));
  t.ok(
    parse('agents: {endpoints: [{node: a, address: "[::1]:9570"}, {node: b, address: "localhost:9570"}]}'),
    'loopback',
  );
  t.ok(parse('kubernetes: {kubeconfig: /k}\nagents: {tls: {caFile: /a, certificateFile: /b, keyFile: /c}}'));
});

t.test('the one in deploy/ can be used', async (t) => {
  const manifests = await readFile(new URL('../../../deploy/extender.yaml', import.meta.url), 'utf8');
  const data = parseAllDocuments(manifests).map((each) => (each.toJS() as { data?: Record<string, string> }).data);
  const text = data.find((each) => each?.['extender.yaml'] !== undefined)?.['extender.yaml'] ?? '';
  t.match(parseExtenderConfig('deploy/extender.yaml', text).listen, {
    address: { port: 9572 },
    health: { port: 9573 },
  });
});
