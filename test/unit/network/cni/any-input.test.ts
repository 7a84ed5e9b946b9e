// Any bytes and any environment: never a crash, always an answer of CNI's, and nothing that was not checked gets through.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { answerCall } from '../../../../agent/api/cni-calls.ts';
import { assertCniAnswer } from '../../../support/cni-json.ts';
import { holdsAsync } from '../../../support/properties.ts';
import { recordingHandler } from '../../../support/recording-cni-handler.ts';

const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,252}$/;
const INTERFACE = /^(?!\.{1,2}$)[^\s/:%]{1,15}$/;

async function answer(variables: ReadonlyMap<string, string>, stdin: Uint8Array) {
  const handler = recordingHandler();
  const finished = await answerCall(handler, { variables, stdin }, new AbortController().signal);
  const answered = JSON.parse(finished.answer.stdout || '{"cniVersion":"1.1.0"}') as { readonly cniVersion: string };
  assert.match(answered.cniVersion, /^\d{1,3}\.\d{1,3}\.\d{1,3}$/);
  const error = assertCniAnswer(finished.answer, finished.command ?? '', answered.cniVersion);
  assert.notEqual(error?.code, 103, finished.answer.stdout);
  assert.equal(handler.requests.length, error === undefined ? 1 : 0, 'what is refused does not reach the feature');
  for (const request of handler.requests) {
    assert.match(request.config.name, NAME);
    if ('id' in request) {
      assert.match(request.id.containerId, NAME);
      assert.match(request.id.ifname, INTERFACE);
    }
  }
  return { error, request: handler.requests[0] };
}

const command = fc.constantFrom('ADD', 'DEL', 'CHECK', 'GC', 'STATUS');
const version = fc.constantFrom('0.4.0', '1.0.0', '1.1.0', '0.3.1', '');
const text = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.constantFrom('eth0', 'a', '/run/netns/a', 'holdfast', '..', '__proto__'),
);
const variables = fc
  .record(
    { CNI_COMMAND: fc.oneof(command, text), CNI_CONTAINERID: text, CNI_NETNS: text, CNI_IFNAME: text, CNI_ARGS: text },
    { requiredKeys: [] },
  )
  .map((record) => new Map(Object.entries(record)));
const value = fc.oneof(
  { depthSize: 'small' },
  fc.jsonValue(),
  fc.constantFrom(
    1e308,
    -1,
    1.5,
    Number.MAX_SAFE_INTEGER,
    '10.0.0.1/8',
    'fd00::1/64',
    'eth0',
    'holdfast',
    'bridge',
    'routed',
  ),
);
const config = fc
  .record(
    {
      cniVersion: fc.oneof({ weight: 4, arbitrary: version }, { weight: 1, arbitrary: value }),
      name: fc.oneof(text, value),
      type: fc.oneof(fc.constant('holdfast'), value),
      mode: value,
      bridge: value,
      uplink: value,
      mtu: value,
      hairpin: value,
      pool: value,
      ipam: fc.oneof(value, fc.record({ type: value, pool: value })),
      dns: fc.oneof(value, fc.record({ nameservers: value, domain: value })),
      prevResult: fc.oneof(
        value,
        fc.record({
          interfaces: fc.array(fc.record({ name: value, sandbox: value })),
          ips: fc.array(fc.record({ version: value, address: value, interface: value })),
        }),
      ),
      runtimeConfig: fc.record({ 'io.kubernetes.cri.pod-annotations': fc.oneof(value, fc.dictionary(text, text)) }),
      'cni.dev/valid-attachments': fc.oneof(value, fc.array(fc.record({ containerID: text, ifname: text }))),
    },
    { requiredKeys: [] },
  )
  .map((object) => Buffer.from(JSON.stringify(object)));

t.test('configurations of any content', async (t) => {
  await holdsAsync(
    t,
    'answered in CNI',
    fc.asyncProperty(variables, config, async (names, stdin) => void (await answer(names, stdin))),
    1500,
  );
});

t.test('bytes of any content', async (t) => {
  await holdsAsync(
    t,
    'answered in CNI',
    fc.asyncProperty(variables, fc.uint8Array({ maxLength: 200 }), async (names, stdin) => {
      const { error } = await answer(names, stdin);
      assert.ok(error);
    }),
    500,
  );
});

const GOOD = new Map(
  Object.entries({ CNI_COMMAND: 'ADD', CNI_CONTAINERID: 'c', CNI_NETNS: '/run/netns/c', CNI_IFNAME: 'eth0' }),
);
const BASE = '"cniVersion":"1.1.0","name":"pods","type":"holdfast"';

async function add(rest: string) {
  return answer(GOOD, Buffer.from(`{${BASE},${rest}}`));
}

t.test('nesting as deep as a request is long is no harm, wherever it is', async (t) => {
  const depth = 250_000;
  const bomb = '['.repeat(depth) + ']'.repeat(depth);
  t.equal((await add(`"unknown":${bomb}`)).error, undefined);
  t.equal((await answer(GOOD, Buffer.from(bomb))).error?.code, 6);
  t.equal((await answer(GOOD, Buffer.from('['.repeat(1_000_000)))).error?.code, 6);
  for (const key of [
    'mode',
    'mtu',
    'name',
    'type',
    'ipam',
    'pool',
    'dns',
    'prevResult',
    'runtimeConfig',
    'cniVersion',
  ]) {
    const { error } = await add(`"${key}":${bomb}`);
    t.match(error, { code: /^[17]$/ }, key);
    t.ok((error?.msg.length ?? 0) < 500, 'the message does not repeat it');
  }
});

t.test('a great many wrong entries are a short error', async (t) => {
  const many = `"cni.dev/valid-attachments":[${'0,'.repeat(300_000)}0]`;
  const { error } = await answer(new Map([...GOOD, ['CNI_COMMAND', 'GC']]), Buffer.from(`{${BASE},${many}}`));
  t.equal(error?.code, 7);
  t.ok((error?.msg.length ?? 0) < 1000);
});

t.test('numbers beyond all bounds are refused where one is wanted', async (t) => {
  for (const number of ['1e999', '-1e999', '1e308', `1${'0'.repeat(1000)}`, '0.1', '1500.0000001']) {
    t.equal((await add(`"mtu":${number}`)).error?.code, 7, number.slice(0, 20));
  }
});

t.test('keys that mean something to JavaScript are keys', async (t) => {
  const poison = '{"polluted":true,"mode":"routed","pool":"stolen"}';
  const annotations = `"runtimeConfig":{"io.kubernetes.cri.pod-annotations":{"__proto__":"x","constructor":"y"}}`;
  const { request } = await add(`"__proto__":${poison},"constructor":{"prototype":${poison}},${annotations}`);
  t.match(request, { config: { dataPlane: { mode: 'bridge' } } });
  t.equal(request?.config.pool, undefined);
  t.equal(({} as Readonly<Record<string, unknown>>)['polluted'], undefined);
  const pod = request?.command === 'ADD' ? request.pod : undefined;
  t.strictSame(Object.entries(pod?.annotations ?? {}), [
    ['__proto__', 'x'],
    ['constructor', 'y'],
  ]);
  t.equal((await add('"ipam":{"__proto__":{"pool":"stolen"}}')).request?.config.pool, undefined);
});
