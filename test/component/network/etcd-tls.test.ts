// etcd over TLS: certificates of both sides, wrong ones, and ones that are replaced.
import t from 'tap';
import { pollUntil } from '../../../agent/cli/quickstart/poll.ts';
import { EtcdLeaseStore } from '../../../agent/network/etcd-lease-store.ts';
import { storeKey } from '../../../agent/network/lease-store.ts';
import { HoldfastError } from '../../../lib/errors.ts';
import type { ClientTls } from '../../../lib/grpc-client.ts';
import { connectEtcd, NEEDS_ETCD, startEtcd } from '../../support/etcd.ts';
import { makeMemoryFolder } from '../../support/memory-folder.ts';
import { makeAuthority, type TestAuthority } from '../../support/test-certificates.ts';

const never = new AbortController().signal;
const key = storeKey('a', 'b');
const TIMES = { timeoutMs: 2000, attemptMs: 1000 } as const;

t.setTimeout(300_000);

async function clientTls(of: TestAuthority, trusting: TestAuthority = of): Promise<ClientTls> {
  const { cert, key: privateKey } = await of.issue('agent');
  return { ca: Buffer.from(trusting.ca), cert: Buffer.from(cert), key: Buffer.from(privateKey) };
}

t.test('over TLS', { skip: NEEDS_ETCD }, async (t) => {
  const authority = await makeAuthority(await makeMemoryFolder(t));
  const stranger = await makeAuthority(await makeMemoryFolder(t));
  const server = await authority.issue('etcd', 'IP:127.0.0.1');
  const { urls } = await startEtcd(t, { members: 1, tls: { ...server, ca: authority.ca } });
  const good = await clientTls(authority);
  const open = (endpoints: readonly string[], options: Parameters<typeof connectEtcd>[2]) => {
    const { keyValues, connection } = connectEtcd(t, endpoints, { ...TIMES, ...options });
    return new EtcdLeaseStore({ keyValues, fence: undefined, close: () => connection.close() });
  };
  const write = { expect: new Map(), write: new Map([[key, '1']]) };

  await t.test('the right certificates', async (t) => {
    t.equal(await open(urls, { tls: good }).commit(write, never), 'done');
  });

  await t.test('wrong ones are told from an etcd that is away, and nothing is changed', async (t) => {
    const wrong: readonly (readonly [string, ClientTls, RegExp])[] = [
      ['a server of an authority that is not trusted', await clientTls(authority, stranger), /self.signed|certificate/],
      ['a server of another name', { ...good, serverName: 'etcd.example.org' }, /etcd\.example\.org/],
      [
        'a client that the server does not trust',
        await clientTls(stranger, authority),
        /certificate|ECONNRESET|dropped/,
      ],
    ];
    for (const [name, tls, message] of wrong) {
      await t.rejects(open(urls, { tls }).commit(write, never), { code: 'UNAVAILABLE', message }, name);
    }
    const garbage = { ...good, key: Buffer.from('no key') };
    await t.rejects(open(urls, { tls: garbage }).commit(write, never), { code: 'INVALID_CONFIG' });
    const plain = urls.map((url) => url.replace('https', 'http'));
    await t.rejects(open(plain, {}).commit(write, never), { code: 'UNAVAILABLE' }, 'without TLS');
    t.throws(() => open(urls, {}), { code: 'INVALID_CONFIG' }, 'no certificates configured');
  });

  await t.test('certificates that come late', async (t) => {
    let read = (): Promise<ClientTls> => Promise.reject(new HoldfastError('PRECONDITION', 'ca.crt cannot be read'));
    const store = open(urls, { readTls: () => read() });
    await t.rejects(store.read([key], never), { code: 'UNAVAILABLE', message: /ca\.crt cannot be read/ });
    const hanging = open(urls, { readTls: () => new Promise(() => {}), connectMs: 50 });
    await t.rejects(hanging.read([key], never), { code: 'UNAVAILABLE', message: /file system/ });
    read = () => Promise.resolve(good);
    t.equal(await store.commit(write, never), 'done');
  });

  await t.test('certificates that are replaced are used; files that cannot be leave the former in force', async (t) => {
    const problems: string[] = [];
    let read = (): Promise<ClientTls> => Promise.resolve(good);
    const store = open(urls, {
      readTls: () => read(),
      readTlsMs: 0,
      onProblem: (error) => problems.push(error.message),
    });
    const answers = async (): Promise<boolean> => {
      try {
        return (await store.read([key], never)).size === 1;
      } catch (error) {
        if (error instanceof HoldfastError && error.code === 'UNAVAILABLE') return false;
        throw error;
      }
    };
    t.ok(await answers());
    read = () => Promise.reject(new HoldfastError('PRECONDITION', 'ca.crt ends within a certificate'));
    await pollUntil('the problem', 60_000, async () => ((await answers()) && problems.length > 0) || undefined);
    t.match(problems, [/ca\.crt ends within a certificate/]);
    const others = await clientTls(stranger, authority);
    read = () => Promise.resolve(others);
    await pollUntil('the new certificates', 60_000, async () => !(await answers()) || undefined);
    read = () => Promise.resolve(good);
    await pollUntil('the good ones', 60_000, async () => (await answers()) || undefined);
    t.equal(problems.length, 1, 'told once');
  });
});

t.test('what cannot be an endpoint', (t) => {
  for (const endpoint of [
    '',
    '127.0.0.1:2379',
    'https://host',
    'ftp://a:1',
    'http://a:0',
    'http://a:70000',
    'http://a b:1',
    'http://a:1/x',
  ]) {
    t.throws(() => connectEtcd(t, [endpoint]), { code: 'INVALID_CONFIG' }, endpoint);
  }
  t.throws(() => connectEtcd(t, []), { code: 'INVALID_CONFIG' });
  t.throws(() => connectEtcd(t, ['http://[::1]:2379'], { prefix: 'no-slash' }), { code: 'INVALID_CONFIG' });
  t.end();
});
