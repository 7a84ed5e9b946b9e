// The certificates of a cluster that lives for minutes: an authority of its own, made with the host's openssl.
import { join } from 'node:path';
import { run } from '../../../agent/cli/quickstart/command.ts';

/** PEM files. */
export interface Certificate {
  readonly certificate: string;
  readonly key: string;
}

export interface ClusterCertificates {
  /** Of the authority that has signed the others. */
  readonly authority: string;
  readonly apiServer: Certificate;
  /** The API server's, towards the kubelet. */
  readonly kubeletClient: Certificate;
  /** Signs the tokens of service accounts. */
  readonly serviceAccountKey: string;
}

const DAYS = '2';
const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

/** @param folder - takes the files */
export async function makeCertificates(folder: string): Promise<ClusterCertificates> {
  const files = (name: string): Certificate => ({
    certificate: join(folder, `${name}.crt`),
    key: join(folder, `${name}.key`),
  });
  const make = async (name: string, subject: string, ...options: readonly string[]): Promise<Certificate> => {
    const { certificate, key } = files(name);
    const output = ['-keyout', key, '-out', certificate, '-subj', subject, '-days', DAYS];
    await run('openssl', ['req', '-x509', ...NEW_KEY, ...output, ...options]);
    return { certificate, key };
  };
  const authority = await make(
    'authority',
    '/CN=authority',
    '-addext',
    'keyUsage=critical,keyCertSign,digitalSignature',
  );
  const signed = [
    '-CA',
    authority.certificate,
    '-CAkey',
    authority.key,
    '-addext',
    'basicConstraints=critical,CA:FALSE',
  ];
  const names = 'subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:kubernetes.default.svc';
  const serviceAccountKey = join(folder, 'service-accounts.key');
  await run('openssl', ['genrsa', '-out', serviceAccountKey, '2048']);
  return {
    authority: authority.certificate,
    apiServer: await make('api-server', '/CN=api-server', ...signed, '-addext', names),
    kubeletClient: await make('kubelet-client', '/O=system:masters/CN=api-server', ...signed),
    serviceAccountKey,
  };
}
