// Reads a kubeconfig file and the files that it names: the current context only, and every secret anew each time, as
// certificates and tokens are replaced on disk. Nothing of their content gets into an error.
import path from 'node:path';
import { parseDocument } from 'yaml';
import { z } from 'zod';
import { describeError, HoldfastError } from '../../lib/errors.ts';
import { readManifestFile } from './file-read.ts';

const text = z.string().nullish();

const clusterSchema = z.object({
  server: z.string(),
  'certificate-authority': text,
  'certificate-authority-data': text,
  'insecure-skip-tls-verify': z.boolean().nullish(),
  'tls-server-name': text,
  'proxy-url': text,
});

const userSchema = z.object({
  'client-certificate': text,
  'client-certificate-data': text,
  'client-key': text,
  'client-key-data': text,
  token: text,
  tokenFile: text,
  username: text,
  password: text,
  as: text,
  // What a plugin needs is between the file and the client library.
  exec: z.looseObject({ command: z.string().min(1) }).nullish(),
  'auth-provider': z.looseObject({ name: z.string().min(1) }).nullish(),
});

const fileSchema = z.object({
  'current-context': z.string().min(1),
  contexts: z.array(z.object({ name: z.string(), context: z.object({ cluster: z.string(), user: z.string() }) })),
  clusters: z.array(z.object({ name: z.string(), cluster: clusterSchema })),
  users: z.array(z.object({ name: z.string(), user: userSchema.nullish() })),
});

/** The current context with its files' contents in it; `…Data` is base64 of PEM. */
export interface Kubeconfig {
  readonly server: string;
  readonly caData?: string;
  readonly tlsServerName?: string;
  readonly proxyUrl?: string;
  readonly certData?: string;
  readonly keyData?: string;
  readonly token?: string;
  readonly username?: string;
  readonly password?: string;
  readonly impersonateUser?: string;
  readonly exec?: Readonly<Record<string, unknown>>;
  readonly authProvider?: Readonly<Record<string, unknown>>;
}

function unusable(file: string, why: string): HoldfastError {
  return new HoldfastError('INVALID_CONFIG', `the kubeconfig ${file} cannot be used: ${why}`);
}

/** @throws HoldfastError INVALID_CONFIG naming the file that cannot be read or used */
export async function readKubeconfig(file: string): Promise<Kubeconfig> {
  const { cluster, user } = currentOf(file, await readNamed(file, file));
  checkServer(file, cluster);
  // A kubelet's certificate and key are one file, which is replaced at any time: both must come from one reading.
  const readings = new Map<string, Promise<string>>();
  const content = async (named: string | null | undefined): Promise<string | undefined> => {
    if (named === null || named === undefined || named === '') return undefined;
    const absolute = path.resolve(path.dirname(file), named);
    const reading = readings.get(absolute) ?? readNamed(file, absolute);
    readings.set(absolute, reading);
    return reading;
  };
  const data = async (inline: string | null | undefined, named: string | null | undefined) => {
    if (inline) return inline;
    const read = await content(named);
    return read === undefined ? undefined : Buffer.from(read).toString('base64');
  };
  return given({
    server: cluster.server,
    caData: await data(cluster['certificate-authority-data'], cluster['certificate-authority']),
    tlsServerName: cluster['tls-server-name'],
    proxyUrl: cluster['proxy-url'],
    certData: await data(user['client-certificate-data'], user['client-certificate']),
    keyData: await data(user['client-key-data'], user['client-key']),
    token: (await content(user.tokenFile))?.trim() ?? user.token,
    username: user.username,
    password: user.password,
    impersonateUser: user.as,
    exec: user.exec,
    authProvider: user['auth-provider'],
  });
}

type Maybe<Fields> = { readonly [Key in keyof Fields]: Fields[Key] | null | undefined };

function given(fields: Maybe<Required<Kubeconfig>> & Pick<Kubeconfig, 'server'>): Kubeconfig {
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined && value !== null && value !== '');
  return { server: fields.server, ...Object.fromEntries(entries) };
}

async function readNamed(kubeconfig: string, file: string): Promise<string> {
  try {
    return await readManifestFile(file);
  } catch (error) {
    throw unusable(kubeconfig, file === kubeconfig ? describeError(error) : `${file}: ${describeError(error)}`);
  }
}

function currentOf(file: string, content: string) {
  const parsed = fileSchema.safeParse(parseQuietly(file, content));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw unusable(file, `${issue?.path.map(String).join('.') || 'it'} is missing or not what it should be`);
  }
  const { contexts, clusters, users } = parsed.data;
  const name = parsed.data['current-context'];
  const context = contexts.find((each) => each.name === name)?.context;
  if (context === undefined) throw unusable(file, `it has no context "${name}", which is its current-context`);
  const cluster = clusters.find((each) => each.name === context.cluster)?.cluster;
  if (cluster === undefined) throw unusable(file, `it has no cluster "${context.cluster}"`);
  const user = users.find((each) => each.name === context.user);
  if (user === undefined) throw unusable(file, `it has no user "${context.user}"`);
  return { cluster, user: user.user ?? {} };
}

function parseQuietly(file: string, content: string): unknown {
  // The parser's messages quote the lines around the mistake, keys and tokens among them.
  const quiet = unusable(file, 'it is not YAML');
  try {
    const document = parseDocument(content, { prettyErrors: false });
    if (document.errors.length > 0) throw quiet;
    return document.toJS({ maxAliasCount: 0 }) as unknown;
  } catch {
    throw quiet;
  }
}

function checkServer(file: string, cluster: z.output<typeof clusterSchema>): void {
  if (cluster['insecure-skip-tls-verify'] === true) {
    throw unusable(file, 'insecure-skip-tls-verify is on; name the certificate authority instead');
  }
  const url = URL.canParse(cluster.server) ? new URL(cluster.server) : undefined;
  if (url?.protocol !== 'https:') throw unusable(file, 'its server is not an https:// address');
  if (url.username !== '' || url.password !== '')
    throw unusable(file, 'there is a password in the address of its server');
}
