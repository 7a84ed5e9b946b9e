// Who we are to the API server, and who it must be to us: kubeconfigs and the files that they name, as they change.
import { chmod, mkdir, mkdtemp, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { pollUntil } from '../../../agent/cli/quickstart/poll.ts';
import { ApiCredentials } from '../../../agent/cluster/api-access.ts';
import { listPods } from '../../../agent/cluster/api-pods.ts';
import { apiCredentials } from '../../../agent/cluster/open-pod-source.ts';
import { openHostTree } from '../../../agent/host/host-tree.ts';
import { describeError } from '../../../lib/errors.ts';
import { FakeApiServer, type SeenRequest } from '../../support/fake-api-server.ts';
import { makeAuthority, type TestAuthority } from '../../support/test-certificates.ts';

const LIMITS = { answerMs: 60_000, idleMs: 60_000, totalMs: 60_000 };
const { signal } = new AbortController();

async function folderFor(t: Test): Promise<string> {
  const folder = await mkdtemp(join(os.tmpdir(), 'holdfast-credentials-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

interface Setting {
  readonly authority: TestAuthority;
  readonly api: FakeApiServer;
  readonly folder: string;
  /** Writes a kubeconfig; the authority's certificate lies beside it. */
  readonly write: (user: object, cluster?: object) => Promise<string>;
}

async function settingFor(t: Test): Promise<Setting> {
  const folder = await folderFor(t);
  const authority = await makeAuthority(folder);
  const api = new FakeApiServer(await authority.issue('api server', 'IP:127.0.0.1,DNS:api.test'), authority.ca);
  await api.start();
  t.teardown(() => api.stop());
  const file = join(folder, 'kubeconfig');
  const write = async (user: object, cluster: object = {}): Promise<string> => {
    const trusted = { server: api.url, 'certificate-authority': 'ca.crt', ...cluster };
    const content = {
      'current-context': 'second',
      contexts: [
        { name: 'first', context: { cluster: 'elsewhere', user: 'someone' } },
        { name: 'second', context: { cluster: 'here', user: 'me' } },
      ],
      clusters: [
        { name: 'elsewhere', cluster: { server: 'https://elsewhere.test' } },
        { name: 'here', cluster: trusted },
      ],
      users: [
        { name: 'someone', user: {} },
        { name: 'me', user },
      ],
    };
    await writeFile(file, JSON.stringify(content));
    return file;
  };
  return { authority, api, folder, write };
}

/** One list; the request as the server saw it. */
async function ask(credentials: ApiCredentials, api: FakeApiServer): Promise<SeenRequest | undefined> {
  const access = await credentials.open(signal);
  try {
    await listPods({ access, nodeName: 'n', limits: LIMITS, signal }, { notOlderThan: '0' });
    return api.requests.at(-1);
  } finally {
    access.close();
  }
}

async function isRunning(pid: number): Promise<boolean> {
  return readFile(`/proc/${pid}/cmdline`).then(
    (words) => words.length > 0,
    () => false,
  );
}

/** What people would read. */
async function problemOf(credentials: ApiCredentials, api: FakeApiServer): Promise<string> {
  try {
    await ask(credentials, api);
    return 'it worked';
  } catch (error) {
    return describeError(error);
  }
}

t.test("a kubelet's certificate, one file with the key in it, is read anew when it was rotated", async (t) => {
  const { authority, api, folder, write } = await settingFor(t);
  const current = join(folder, 'kubelet-client-current.pem');
  const rotate = async (name: string): Promise<void> => {
    const { cert, key } = await authority.issue(name);
    const file = join(folder, `${name}.pem`);
    await writeFile(file, cert + key);
    await symlink(file, `${current}.new`);
    await rename(`${current}.new`, current);
  };
  const file = await write({ 'client-certificate': current, 'client-key': current });
  const credentials = new ApiCredentials(async () => file);
  await rotate('first');
  t.equal((await ask(credentials, api))?.clientName, 'first');
  await rotate('second');
  t.equal((await ask(credentials, api))?.clientName, 'second');
});

t.test('tokens are read anew from their file, newline or not', async (t) => {
  const { api, folder, write } = await settingFor(t);
  const file = await write({ tokenFile: 'token' });
  const credentials = new ApiCredentials(async () => file);
  for (const token of ['one', 'two']) {
    api.token = token;
    await writeFile(join(folder, 'token'), `${token}\n`);
    t.equal((await ask(credentials, api))?.authorization, `Bearer ${token}`);
  }
  await write({ token: 'two' });
  t.equal((await ask(credentials, api))?.authorization, 'Bearer two', 'the kubeconfig itself, too');
});

t.test(
  'a credential plugin is asked once for as long as its answer holds, and again when that is refused',
  async (t) => {
    const { api, folder, write } = await settingFor(t);
    const plugin = join(folder, 'plugin');
    await writeFile(
      plugin,
      `#!/bin/sh
echo x >> ${folder}/runs
echo '{"kind":"ExecCredential","status":{"token":"'run-$(wc -l < ${folder}/runs)'","expirationTimestamp":"2999-01-01T00:00:00Z"}}'
`,
    );
    await chmod(plugin, 0o755);
    const file = await write({ exec: { apiVersion: 'client.authentication.k8s.io/v1', command: plugin, args: [] } });
    const credentials = new ApiCredentials(async () => file);
    t.equal((await ask(credentials, api))?.authorization, 'Bearer run-1');
    t.equal((await ask(credentials, api))?.authorization, 'Bearer run-1');
    credentials.forget();
    t.equal((await ask(credentials, api))?.authorization, 'Bearer run-2');

    await writeFile(plugin, '#!/bin/sh\necho hunter2-is-my-token\n');
    credentials.forget();
    t.match(await problemOf(credentials, api), /credentials cannot be had: its output is not JSON/);
    t.notMatch(await problemOf(credentials, api), /hunter2/);
    await writeFile(plugin, '#!/bin/sh\necho login expired >&2\nexit 1\n');
    t.match(await problemOf(credentials, api), /credentials cannot be had: login expired/);
  },
);

t.test('a credential plugin that hangs is waited for, and never started twice', async (t) => {
  const { api, folder, write } = await settingFor(t);
  const plugin = join(folder, 'plugin');
  const hanging = join(folder, 'hanging');
  await writeFile(hanging, '');
  await writeFile(
    plugin,
    `#!/bin/sh
echo x >> ${folder}/runs
while [ -e ${hanging} ]; do sleep 0.1; done
echo '{"status":{"token":"at last","expirationTimestamp":"2999-01-01T00:00:00Z"}}'
`,
  );
  await chmod(plugin, 0o755);
  const file = await write({ exec: { apiVersion: 'client.authentication.k8s.io/v1', command: plugin, args: [] } });
  const credentials = new ApiCredentials(async () => file);
  const impatient = new AbortController();
  const first = credentials.open(impatient.signal);
  await pollUntil('the plugin to run', 60_000, () => readFile(join(folder, 'runs'), 'utf8'));
  impatient.abort(new Error('enough'));
  await t.rejects(first, { message: 'enough' });
  await t.rejects(credentials.open(AbortSignal.timeout(300)), { name: 'TimeoutError' });
  await rm(hanging);
  t.equal((await ask(credentials, api))?.authorization, 'Bearer at last');
  t.equal(await readFile(join(folder, 'runs'), 'utf8'), 'x\n');
});

t.test('a credential plugin that never ends is killed, and another one is tried', async (t) => {
  const { folder, write } = await settingFor(t);
  const plugin = join(folder, 'plugin');
  const exec = { apiVersion: 'client.authentication.k8s.io/v1', command: plugin, args: ['a word'] };
  const file = await write({ exec });
  await writeFile(plugin, `#!/bin/sh\necho "$$ $1" > ${folder}/process\nsleep 1000\n`);
  await chmod(plugin, 0o755);
  const credentials = new ApiCredentials(async () => file, 10_000);
  await t.rejects(credentials.open(signal), { message: /did not end/ });
  const [, pid, word] = /^(\d+) (.*)$/m.exec(await readFile(join(folder, 'process'), 'utf8')) ?? [];
  t.equal(word, 'a word');
  await pollUntil('it to be gone', 60_000, async () => !(await isRunning(Number(pid))) || undefined);
  await writeFile(plugin, `#!/bin/sh\necho '{"status":{"token":"good"}}'\n`);
  const { headers } = await pollUntil('another one', 60_000, () => credentials.open(signal));
  t.match(headers, { Authorization: 'Bearer good' });
});

t.test('an answer of a plugin that cannot be used is forgotten at once', async (t) => {
  const { api, folder, write } = await settingFor(t);
  const plugin = join(folder, 'plugin');
  await writeFile(plugin, `#!/bin/sh\necho '{"kind":"ExecCredential"}'\n`);
  await chmod(plugin, 0o755);
  const file = await write({ exec: { apiVersion: 'client.authentication.k8s.io/v1', command: plugin, args: [] } });
  const credentials = new ApiCredentials(async () => file);
  t.match(await problemOf(credentials, api), /credentials cannot be had/);
  await writeFile(plugin, `#!/bin/sh\necho '{"status":{"token":"good"}}'\n`);
  t.equal((await ask(credentials, api))?.authorization, 'Bearer good');
});

t.test('nothing is asked for an opening that was aborted, and nothing fails behind it', async (t) => {
  const { api, write } = await settingFor(t);
  const file = await write({ exec: { apiVersion: 'client.authentication.k8s.io/v1', command: '/absent', args: [] } });
  const unhandled: unknown[] = [];
  const note = (error: unknown): void => void unhandled.push(error);
  process.on('unhandledRejection', note);
  t.teardown(() => process.off('unhandledRejection', note));
  const ending = new AbortController();
  const aborted = new ApiCredentials(async () => {
    ending.abort(new Error('enough'));
    return file;
  });
  await t.rejects(aborted.open(ending.signal), { message: 'enough' });
  t.match(await problemOf(new ApiCredentials(async () => file), api), /credentials cannot be had/, 'this takes longer');
  t.strictSame(unhandled, []);
});

t.test('a key that does not belong to its certificate is a problem, behind a proxy too', async (t) => {
  const { authority, api, write } = await settingFor(t);
  const [one, other] = [await authority.issue('one'), await authority.issue('other')];
  const user = {
    'client-certificate-data': Buffer.from(one.cert).toString('base64'),
    'client-key-data': Buffer.from(other.key).toString('base64'),
  };
  const file = await write(user, { 'proxy-url': 'http://127.0.0.1:1' });
  t.match(await problemOf(new ApiCredentials(async () => file), api), /credentials cannot be had: .*mismatch/);
});

t.test('a server whose certificate does not prove its name is not talked to', async (t) => {
  const { api, folder, write } = await settingFor(t);
  const credentials = new ApiCredentials(async () => join(folder, 'kubeconfig'));
  await write({ token: 'x' });
  t.equal(await problemOf(credentials, api), 'it worked');
  const { ca } = await makeAuthority(await folderFor(t));
  await write({ token: 'x' }, { 'certificate-authority-data': Buffer.from(ca).toString('base64') });
  t.match(await problemOf(credentials, api), /cannot be reached: .*certificate/);
  await write({ token: 'x' }, { 'tls-server-name': 'other.test' });
  t.match(await problemOf(credentials, api), /cannot be reached: .*other\.test/);
  await write({ token: 'x' }, { 'tls-server-name': 'api.test' });
  t.equal(await problemOf(credentials, api), 'it worked');
  const seen = api.requests.length;
  await write({ token: 'x' }, { 'insecure-skip-tls-verify': true });
  t.match(await problemOf(credentials, api), /insecure-skip-tls-verify is on/);
  await write({ token: 'x' }, { server: api.url.replace('https', 'http') });
  t.match(await problemOf(credentials, api), /not an https/);
  await write({ token: 'x' }, { server: api.url.replace('//', '//me:hunter2@') });
  t.match(await problemOf(credentials, api), /password in the address/);
  t.equal(api.requests.length, seen);
});

t.test('the environment cannot turn verification off', async (t) => {
  const { api, write } = await settingFor(t);
  const { ca } = await makeAuthority(await folderFor(t));
  const before = process.env['NODE_TLS_REJECT_UNAUTHORIZED'];
  t.teardown(() => {
    if (before === undefined) delete process.env['NODE_TLS_REJECT_UNAUTHORIZED'];
    else process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = before;
  });
  process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0';
  const file = await write({ token: 'x' }, { 'certificate-authority-data': Buffer.from(ca).toString('base64') });
  t.match(await problemOf(new ApiCredentials(async () => file), api), /cannot be reached: .*certificate/);
});

t.test('a kubeconfig that cannot be used says why, and nothing of what is in it', async (t) => {
  const { api, folder, write } = await settingFor(t);
  const file = join(folder, 'kubeconfig');
  const credentials = new ApiCredentials(async () => file);
  t.match(await problemOf(credentials, api), /kubeconfig .* cannot be used: ENOENT/);
  await writeFile(file, 'users: [{name: u, user: {token: hunter2}\n  hunter2: "');
  t.match(await problemOf(credentials, api), /it is not YAML/);
  t.notMatch(await problemOf(credentials, api), /hunter2/);
  await writeFile(file, 'token: hunter2');
  t.match(await problemOf(credentials, api), /current-context is missing/);
  await write({ 'client-certificate': 'absent.pem', 'client-key': 'absent.pem' });
  t.match(await problemOf(credentials, api), /absent\.pem: ENOENT/);
  await write({ 'client-certificate-data': Buffer.from('hunter2').toString('base64') });
  t.notMatch(await problemOf(credentials, api), /hunter2|it worked/);
  await rm(file);
  await mkdir(file);
  t.match(await problemOf(credentials, api), /not a regular file/);
});

t.test("the kubelet's own file is looked for while it is needed: the kubelet may start later, and stop", async (t) => {
  const { api, write } = await settingFor(t);
  const file = await write({ token: 'x' });
  const root = await folderFor(t);
  const credentials = apiCredentials('kubelet', await openHostTree(root));
  if (credentials === undefined) throw new Error('there are credentials for this setting');
  t.match(await problemOf(credentials, api), /no kubelet with --kubeconfig runs here/);
  const kubelet = join(root, 'proc', '42');
  await mkdir(kubelet, { recursive: true });
  await writeFile(join(kubelet, 'cmdline'), `/usr/bin/kubelet\0--kubeconfig=${file}\0`);
  t.equal(await problemOf(credentials, api), 'it worked');
  await rm(kubelet, { recursive: true });
  t.equal(await problemOf(credentials, api), 'it worked', 'while it is away');
  t.equal(apiCredentials('off', await openHostTree(root)), undefined);
});
