// A certificate authority and certificates of its own for a test, made with openssl: nothing that expires is kept.
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const openssl = (folder: string, ...words: readonly string[]) => promisify(execFile)('openssl', words, { cwd: folder });

export interface KeyPair {
  /** PEM. */
  readonly cert: string;
  readonly key: string;
}

export interface TestAuthority {
  /** PEM of the authority's certificate. */
  readonly ca: string;
  /**
   * @param name - common name
   * @param alternatives - as openssl writes them: `IP:127.0.0.1,DNS:localhost`
   * @param days - from now on; negative for one that has expired
   */
  issue(name: string, alternatives?: string, days?: number): Promise<KeyPair>;
}

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'] as const;

/** @param folder - where its files go; the caller removes it */
export async function makeAuthority(folder: string): Promise<TestAuthority> {
  const ca = ['-keyout', 'ca.key', '-out', 'ca.crt', '-days', '2', '-subj', '/CN=test authority'];
  await openssl(folder, 'req', '-x509', ...NEW_KEY, ...ca);
  let issued = 0;
  return {
    ca: await readFile(join(folder, 'ca.crt'), 'utf8'),
    issue: async (name, alternatives, days = 2) => {
      issued += 1;
      const file = `issued-${issued}`;
      await openssl(folder, 'req', ...NEW_KEY, '-keyout', `${file}.key`, '-out', `${file}.csr`, '-subj', `/CN=${name}`);
      await writeFile(
        join(folder, `${file}.ext`),
        alternatives === undefined ? '' : `subjectAltName=${alternatives}\n`,
      );
      const signing = [
        '-CA',
        'ca.crt',
        '-CAkey',
        'ca.key',
        '-set_serial',
        String(1000 + issued),
        '-days',
        String(days),
      ];
      const files = ['-in', `${file}.csr`, '-extfile', `${file}.ext`, '-out', `${file}.crt`];
      await openssl(folder, 'x509', '-req', ...signing, ...files);
      return {
        cert: await readFile(join(folder, `${file}.crt`), 'utf8'),
        key: await readFile(join(folder, `${file}.key`), 'utf8'),
      };
    },
  };
}
